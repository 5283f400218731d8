import type { Tensor } from "../tensor.ts";

/** What both directions of a causal convolution read; see the op. All F32 but `first` and `last`. */
interface ConvolutionOperands {
  /** (positions, cols). */
  readonly x: Tensor;
  /** (tokens, cols); undefined: 1. */
  readonly gate: Tensor | undefined;
  /** (1, cols · taps): the taps of each column one after another, the last of which is the token's own position. */
  readonly weight: Tensor;
  /** (1, tokens) U32: the first position that a token sees; undefined: the first of all. */
  readonly first: Tensor | undefined;
}

/** y[t, c] = gate[t, c] · (bias[c] + Σ_j weight[c, j] · x[last[t] − taps + 1 + j, c]), of the positions from the first on. */
export interface Convolution extends ConvolutionOperands {
  /** (1, cols); undefined: there is none. */
  readonly bias: Tensor | undefined;
  /** (1, tokens) U32: the position of each token; undefined: `firstPosition`, and those behind it. */
  readonly last: Tensor | undefined;
  readonly firstPosition: number;
  /** (tokens, cols). */
  readonly y: Tensor;
}

/** The gradients by x and weight where tokens are positions, from the first on. That by the gate is the pass forwards, of dy for a gate. */
export interface ConvolutionGradient extends ConvolutionOperands {
  readonly dy: Tensor;
  /** Assigned; undefined: not wanted. */
  readonly dx: Tensor | undefined;
  readonly dweight: Tensor | undefined;
}

/**
 * The same without gate and bias, over what is kept of texts: y[t, c] = Σ_j weight[c, j] · x[row − taps + 1 + j, c]. Inputs before those of the
 * pass are in the row of `tails` that belongs to the row before it, and it leaves there what comes before the next: where a block ends,
 * and behind the last token.
 */
export interface TailConvolution {
  /** (tokens, cols), cols a multiple of 4. */
  readonly x: Tensor;
  readonly weight: Tensor;
  /** (blocks, (taps − 1) · cols): inputs one after another. */
  readonly tails: Tensor;
  /** Rows of a text that a row of `tails` stands for. */
  readonly block: number;
  /** As those of `GatedDelta`. */
  readonly first: Tensor | undefined;
  readonly rows: Tensor | undefined;
  readonly firstPosition: number;
  readonly y: Tensor;
}
