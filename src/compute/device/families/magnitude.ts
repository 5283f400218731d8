import type { KernelDtype } from "../dtype.ts";
import type { Tensor } from "../tensor.ts";

/** sums[row] = Σ_col (W + Δ)². */
export interface RowSquares {
  /** (rows, cols) in any stored format. */
  readonly weight: Tensor;
  /** F32; undefined: W alone. */
  readonly delta: Tensor | undefined;
  /** (1, rows) F32. */
  readonly sums: Tensor;
}

/** sums[col] = Σ_row (W + Δ)², or added to what is there; sums: (1, cols) F32. */
export interface ColumnSquares extends RowSquares {
  readonly accumulate: boolean;
}

/** What is computed of sums: the numbers that kernels know. */
export const MAGNITUDE = { factor: 0, gradient: 1, norm: 2 } as const;

/**
 * `factor`: to = from / √sums; `gradient`: to += from / √sums and from = 0; `norm`: to = √sums, rounded to `dtype`. All are
 * one row of F32. A factor of a row of zeros is zero.
 */
export interface Magnitudes {
  readonly kind: keyof typeof MAGNITUDE;
  readonly sums: Tensor;
  /** Not read for norms. */
  readonly from: Tensor | undefined;
  readonly to: Tensor;
  readonly dtype: KernelDtype;
}

/** target = c · (W + target + Δ) − W; all matrices begin their buffers, and have one pitch. */
export interface Rescale {
  readonly weight: Tensor;
  /** F32, where the target does not hold it. */
  readonly delta: Tensor | undefined;
  /** c of each row, or of each column, one row of F32; of columns padded to whole vectors of 4. */
  readonly factors: Tensor;
  readonly columns: boolean;
  readonly target: Tensor;
}
