import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";

/** A matrix (classes, features) and a bias (1, classes) that make logits of features. */
export interface Head {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
}

/** Records logits (rows, classes) of features, which are not released. */
export function recordHead(recorder: Recorder, features: Tensor, { weight, bias }: Head): Tensor {
  return recorder.apply(OPS.linear, { x: features, weight, bias, residual: undefined }, {}).y;
}

/** Records factor · x / ‖x‖ of each row; x is not released. A row of zeros becomes NaN, as in transformers. */
export function recordUnit(recorder: Recorder, x: Tensor, factor = 1): Tensor {
  const size = x.shape[1];
  const weight = recorder.upload("unit", [1, size], new Float32Array(size).fill(factor / Math.sqrt(size)));
  const { y } = recorder.apply(OPS.rmsNorm, { x, weight }, { epsilon: 0, offset: 0 });
  recorder.release(weight);
  return y;
}

/**
 * Records the same times a factor that is made of a number (1, 1), and can be trained: of its power of e (CLIP's
 * `logit_scale`), or of the number itself.
 */
export function recordScaledUnit(recorder: Recorder, x: Tensor, scale: Tensor, factor: "power" | "itself"): Tensor {
  const size = x.shape[1];
  const unit = () => new Float32Array(size).fill(1 / Math.sqrt(size));
  const column = recorder.upload("unit", [size, 1], unit());
  const isPower = factor === "power";
  // eˢ is computed as 1 + (eˢ − 1): what is 0 between rows stays 0.
  const less = isPower ? recorder.apply(OPS.activation, { x: scale }, { kind: "expm1" }).y : scale;
  const bias = isPower ? recorder.upload("unit", [1, size], unit()) : undefined;
  const { y: weight } = recorder.apply(OPS.linear, { x: less, weight: column, bias, residual: undefined }, {});
  const { y } = recorder.apply(OPS.rmsNorm, { x, weight }, { epsilon: 0, offset: 0 });
  recorder.release(column, weight, ...(bias === undefined ? [] : [less, bias]));
  return y;
}
