import type { DropoutMask } from "../../random/dropout.ts";
import type { Tensor } from "../tensor.ts";

/** What is computed of each element of a and b: `accumulate` is y += a, `scale` is a · cap, `multiply` is a · b, `gated` is added to an activation f, or `sigmoid`, for f(a) · b; `clamped` is quick-gelu(min(a, cap)) · (1 + b within ±cap). */
export const ELEMENTWISE = {
  add: 0,
  silu: 1,
  "gelu-tanh": 2,
  gelu: 3,
  softcap: 4,
  copy: 5,
  accumulate: 6,
  "quick-gelu": 7,
  expm1: 8,
  scale: 9,
  multiply: 10,
  sigmoid: 11,
  clamped: 12,
  gated: 16,
} as const;

/** y = f(a, b) over the rows of y. */
export interface Elementwise {
  /** One of ELEMENTWISE, or `gated` + an activation: f(a) · b. */
  readonly kind: number;
  /** F32, of the shape of y; an operand that f does not read is left out. */
  readonly a: Tensor | undefined;
  readonly b: Tensor | undefined;
  readonly y: Tensor;
  /** Of the soft cap and the limits of `clamped`, or the factor of `scale`. */
  readonly cap: number;
}

/** What the gradient of y = f(a), or of y = f(a) · b, is computed from and written to. */
export interface ElementwiseBackward {
  /** The operand of f; of the soft cap, whose slope is simpler by its result, y. */
  readonly a: Tensor;
  readonly b?: Tensor | undefined;
  /** ∂loss/∂y. */
  readonly gradient: Tensor;
  /** ∂loss/∂a and ∂loss/∂b, assigned; undefined: not wanted. */
  readonly da?: Tensor | undefined;
  readonly db?: Tensor | undefined;
}

/** The gradient of an elementwise function. */
export interface ElementwiseGradient extends ElementwiseBackward {
  /** One of ELEMENTWISE, or `gated` + an activation. */
  readonly kind: number;
  readonly cap: number;
}

/** y = x · mask / (1 − rate), or y += …, for F32 matrices of one shape. */
export interface Dropout {
  readonly x: Tensor;
  readonly mask: DropoutMask;
  readonly y: Tensor;
  readonly accumulate: boolean;
}

/** y = 0 for an F32 matrix or view, its padding within whole vectors of 4 included. */
export interface Zero {
  readonly y: Tensor;
}

/**
 * y[c] = Σ_t a[t, c], or Σ_t a[t, c] · b[t, c] · factors[t] (factors of 1 by default): in partial sums of at most 256
 * terms, added up in a fixed order.
 */
export interface ColumnSums {
  /** (rows, segments · cols) F32. */
  readonly a: Tensor;
  /** Of the shape of a, and perhaps a factor for each segment of each row, (rows · segments) one after the other. */
  readonly times?: { readonly b: Tensor; readonly factors?: Tensor } | undefined;
  /** Parts of a row that are summed as if they were rows; 1 by default. With several cols is a multiple of 4. */
  readonly segments?: number | undefined;
  /** (1, cols) F32, assigned. */
  readonly y: Tensor;
}

/** y = x · scale + bias + residual: each column of x has a factor of its own. Matrices (rows, cols), vectors (1, cols), F32. */
export interface ScaleColumns {
  readonly x: Tensor;
  readonly scale: Tensor;
  readonly bias?: Tensor | undefined;
  readonly residual?: Tensor | undefined;
  /** Assigned. */
  readonly y: Tensor;
}
