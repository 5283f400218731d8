import type { Tensor } from "../tensor.ts";

/** What both directions of a causal convolution read; see the op. All F32 but `first` and `last`. */
interface ConvolutionOperands {
  /** (positions, cols). */
  readonly x: Tensor;
  /** (tokens, cols). */
  readonly gate: Tensor;
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
  /** Of the shape of the gate. */
  readonly y: Tensor;
}

/** The gradients by x and weight where tokens are positions, from the first on. That by the gate is the pass forwards, of dy for a gate. */
export interface ConvolutionGradient extends ConvolutionOperands {
  readonly dy: Tensor;
  /** Assigned; undefined: not wanted. */
  readonly dx: Tensor | undefined;
  readonly dweight: Tensor | undefined;
}
