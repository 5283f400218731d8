import type { Recorder } from "../../../compute/tensor/recorder.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import { recordHead, recordUnit } from "../heads.ts";

/** Records factor · cosine of each image and each text, (images, texts); neither is released. */
export function recordSimilarities(recorder: Recorder, images: Tensor, texts: Tensor, factor: number): Tensor {
  const [x, weight] = [recordUnit(recorder, images, factor), recordUnit(recorder, texts)];
  const logits = recordHead(recorder, x, { weight, bias: undefined });
  recorder.release(x, weight);
  return logits;
}
