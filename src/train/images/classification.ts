import type { Head } from "../../models/vision/heads.ts";
import { recordHead, recordUnit } from "../../models/vision/heads.ts";
import type { ImageModel, PassOptions } from "../../models/vision/image-model.ts";
import type { Images } from "../../models/vision/patches.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Judge } from "../model/judge.ts";
import { grey, type ImageBatch } from "./batch.ts";
import type { Task } from "../model/task.ts";

/**
 * What a head reads of an image. linear: what transformers' own classifier does; class-token: the normed class token
 * (RandLoRA's experiments); joint: what stands for the image beside texts, of length `scale`.
 */
export type Features = { readonly of: "linear" | "class token" } | { readonly of: "joint"; scale(): number };

/** Records what a head reads: (images, features). The caller releases it. */
export function recordFeatures(
  recorder: Recorder,
  model: ImageModel,
  images: Images,
  features: Features,
  options: PassOptions,
): Tensor {
  if (features.of === "joint") {
    const seen = model.recordImages(recorder, images, options);
    const unit = recordUnit(recorder, seen, features.scale());
    recorder.release(seen);
    return unit;
  }
  const hidden = model.recordHidden(recorder, images, options);
  const read =
    features.of === "linear"
      ? model.vision.recordFeatures(recorder, hidden)
      : model.vision.recordClassTokens(recorder, hidden);
  recorder.release(hidden);
  return read;
}

/** The class of each image: cross-entropies of what a head makes of it. */
export function classification(model: ImageModel, features: Features, head: Head): Task<ImageBatch> {
  return {
    losses(recorder, linears, { images, labels }, { checkpointing }) {
      const x = recordFeatures(recorder, model, images, features, { linears, checkpointing });
      const targets = recorder.upload("labels", [1, labels.length], labels);
      const { y, lse } = recorder.apply(OPS.nll, { x, ...head, targets }, { softcap: undefined });
      recorder.release(x, targets, lse);
      return y;
    },
    termsOf: ({ labels }) => labels.length,
    probe: (size) => grey(size, model.vision.size, head.weight.shape[0]),
    judge: classJudge(model, features, head),
  };
}

/**
 * Judges images by what a head makes of them.
 * @param begin makes the head, where it follows from the weights
 */
export function classJudge(
  model: ImageModel,
  features: Features,
  head: Head,
  begin: Judge<ImageBatch>["begin"] = async () => {},
): Judge<ImageBatch> {
  return {
    begin,
    logits(recorder, linears, { images }) {
      const x = recordFeatures(recorder, model, images, features, { linears });
      const logits = recordHead(recorder, x, head);
      recorder.release(x);
      return logits;
    },
    labelsOf: ({ labels }) => labels,
  };
}
