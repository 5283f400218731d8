import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";

/** A norm by the root of the mean square, and its weights, (1, size) F32; see OPS.rmsNorm. */
export interface RmsNorm {
  readonly kind: "rms";
  readonly weight: Tensor;
  readonly epsilon: number;
  readonly offset: number;
}

/** A norm: which one, and its weights, (1, size) F32; see OPS.layerNorm. */
export type Norm =
  | RmsNorm
  | { readonly kind: "layer"; readonly weight: Tensor; readonly bias: Tensor | undefined; readonly epsilon: number };

/** Records a norm of each row of x, or of each head where the norm is of that size; x is not released. */
export function recordNorm(recorder: Recorder, norm: Norm, x: Tensor): Tensor {
  const { weight, epsilon } = norm;
  return norm.kind === "rms"
    ? recorder.apply(OPS.rmsNorm, { x, weight }, { epsilon, offset: norm.offset }).y
    : recorder.apply(OPS.layerNorm, { x, weight, bias: norm.bias }, { epsilon }).y;
}
