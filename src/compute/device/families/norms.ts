import type { Tensor } from "../tensor.ts";

/** y = (x − mean) / √(variance + ε) · weight + bias, each row by itself. All F32; weight and bias are one row. */
export interface LayerNorm {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly epsilon: number;
  readonly y: Tensor;
}

/** What gradients of a norm are computed from, and where they go, assigned; undefined: not wanted. */
interface NormGradient {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly dy: Tensor;
  readonly epsilon: number;
  readonly dx: Tensor | undefined;
  readonly dweight: Tensor | undefined;
}

export type LayerNormGradient = NormGradient;

/** y = x / √(mean(x²) + ε) · (offset + weight), each segment of a row that is as long as the weight by itself. All F32. */
export interface RmsNorm {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly epsilon: number;
  readonly offset: number;
  readonly y: Tensor;
}

export interface RmsNormGradient extends NormGradient {
  readonly offset: number;
}
