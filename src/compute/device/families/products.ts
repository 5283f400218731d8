import type { Activation } from "../../rows/gates.ts";
import type { TernaryRows } from "../ternary-rows.ts";
import type { Tensor } from "../tensor.ts";

/** Which of the operands are transposed: y = a bᵀ, a b or aᵀ b. */
export type GemmOrder = "NT" | "NN" | "TN";

/**
 * y = scale · product + bias + residual (+ y), with sums in blocks of at most 256 terms. Padding columns of y become
 * zero, and nothing is written beyond them. Operands may be views; the buffer of y must not be that of another operand.
 */
export interface Gemm {
  /** NT: y = a (M, K) · b (N, K)ᵀ. NN: y = a (M, K) · b (K, N). TN: y = a (K, M)ᵀ · b (K, N). */
  readonly order: GemmOrder;
  /** F32. */
  readonly a: Tensor;
  /** In any stored format; ternary where the device takes such rows, in NT and NN with neither bias nor residual. */
  readonly b: Tensor | TernaryRows;
  /** (M, N) F32. */
  readonly y: Tensor;
  /** Of the product; 1 by default. */
  readonly scale?: number | undefined;
  /** (1, N) F32, added to every row. */
  readonly bias?: Tensor | undefined;
  /** (M, N) F32, added. */
  readonly residual?: Tensor | undefined;
  /** Adds to what y holds instead of assigning. */
  readonly accumulate?: boolean | undefined;
}

/** y = scale · x Wᵀ + bias + residual; a device may have another way for a few rows than for many. */
export interface Linear {
  /**
   * Rows of the largest of the passes that this one belongs to; undefined: its own. A device chooses its way by it, so that
   * a row's sums are the same bits however many rows are computed beside it.
   */
  readonly rowsAtMost?: number | undefined;
  /** (rows, in) F32. */
  readonly x: Tensor;
  /** (out, in) in any stored format. */
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly residual: Tensor | undefined;
  readonly scale: number;
  /** (rows, out) F32. */
  readonly y: Tensor;
}

/**
 * y = norm(x) Wᵀ + bias, or f(left half of that) · right half: what the blocks of a decoder begin with. A device may have
 * another way for a few rows than for many, and chooses as for `Linear`.
 */
export interface NormedLinear extends Pick<Linear, "rowsAtMost" | "x" | "weight" | "bias"> {
  readonly norm: InputNorm;
  /** The activation f; undefined: none. W then has an even number of rows, of which the first half is the gate. */
  readonly gate: Activation | undefined;
  /** (rows, out), with a gate (rows, out / 2) F32. */
  readonly y: Tensor;
}

/** Parameters of the row kernel `rmsNorm`. */
export interface NormNumbers {
  readonly epsilon: number;
  readonly offset: number;
}

/** `rmsNorm` of each row. */
export interface InputNorm extends NormNumbers {
  readonly weight: Tensor;
  /**
   * What joins x before that: sum = x + norm(branch) takes its place, by a norm with the same ε and offset. `sum` is
   * assigned, and of none of the operands' buffers; undefined: nothing joins it.
   */
  readonly branch: { readonly x: Tensor; readonly weight: Tensor; readonly sum: Tensor } | undefined;
}
