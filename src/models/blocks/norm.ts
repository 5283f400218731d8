import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";

/** A norm by the root of the mean square, and its weights, (1, size) F32; see OPS.rmsNorm. */
export interface RmsNorm<W = Tensor> {
  readonly kind: "rms";
  readonly weight: W;
  readonly epsilon: number;
  /** Added to the weights: 1 in Gemma, else 0. */
  readonly offset: number;
}

/** A norm by mean and variance, and its weights, (1, size) F32; see OPS.layerNorm. */
export interface LayerNorm<W = Tensor> {
  readonly kind: "layer";
  readonly weight: W;
  readonly bias: W | undefined;
  readonly epsilon: number;
}

/** A norm; of `W` instead of tensors where its weights are only planned. */
export type Norm<W = Tensor> = RmsNorm<W> | LayerNorm<W>;

/**
 * Records a norm of each row of x, or of each head where the norm is of that size; x is not released.
 * @param y where it goes; undefined: to a new matrix
 */
export function recordNorm(recorder: Recorder, norm: Norm, x: Tensor, y?: Tensor): Tensor {
  const { weight, epsilon } = norm;
  const into = y === undefined ? {} : { y };
  return norm.kind === "rms"
    ? recorder.apply(OPS.rmsNorm, { x, weight }, { epsilon, offset: norm.offset }, into).y
    : recorder.apply(OPS.layerNorm, { x, weight, bias: norm.bias }, { epsilon }, into).y;
}
