import { recordScaledUnit, recordUnit } from "../../models/vision/heads.ts";
import type { ImageModel } from "../../models/vision/image-model.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { classJudge, type ZeroShotHead } from "./classification.ts";
import { grey, type ImageBatch } from "./batch.ts";
import type { Judge, Task } from "../model/task.ts";

/**
 * Which loss. clip: the mean of both cross-entropies, of texts for each image and of images for each text, each image's
 * own text being the right one (arXiv:2103.00020); paper: of texts for each image alone, where the first text of the
 * same class is the right one, and the cosine's factor is the logarithm that the checkpoint has (RandLoRA's code).
 */
export type ContrastiveLoss = "clip" | "paper";

export interface ContrastiveOptions {
  readonly loss: ContrastiveLoss;
  /** Token ids of each class's text, special tokens included. */
  readonly texts: readonly (readonly number[])[];
  /** Of all classes, for evaluations, which fill it. */
  readonly head: ZeroShotHead;
}

/** Each image of a batch against the texts of all images of the batch: cross-entropies of their cosines. */
export function contrastive(model: ImageModel, { loss, texts, head }: ContrastiveOptions): Task<ImageBatch> {
  const { joint } = model;
  if (joint === undefined) throw new TypeError("a model of images alone");
  const longestFirst = [...texts.keys()].toSorted((a, b) => (texts[b]?.length ?? 0) - (texts[a]?.length ?? 0));
  return {
    losses(recorder, linears, { images, labels }, { checkpointing }) {
      const options = { linears, checkpointing };
      const count = labels.length;
      const seen = model.recordImages(recorder, images, options);
      const unit = recordScaledUnit(recorder, seen, joint.logitScale, loss === "clip" ? "power" : "itself");
      recorder.release(seen);
      // Equal texts have equal vectors: each class's is worked out once, and stands wherever an image is of it.
      const classes = [...new Set(labels)];
      const read = model.recordTexts(
        recorder,
        classes.map((label) => texts[label] ?? []),
        options,
      );
      const units = recordUnit(recorder, read);
      const ids = recorder.upload(
        "classes",
        [1, count],
        Uint32Array.from(labels, (label) => classes.indexOf(label)),
      );
      const { y: each } = recorder.apply(OPS.embedding, { ids, table: units }, { scale: 1 });
      recorder.release(read, units, ids);
      const own = loss === "clip" ? labels.map((_, at) => at) : labels.map((label) => labels.indexOf(label));
      const targets = recorder.upload("targets", [1, count], own);
      const terms = recordTerms(recorder, unit, each, targets);
      const others = loss === "clip" ? recordTerms(recorder, each, unit, targets) : undefined;
      recorder.release(unit, each, targets);
      return others === undefined ? terms : recordMean(recorder, terms, others);
    },
    termsOf: ({ labels }) => labels.length,
    probe(size) {
      const { images, labels } = grey(size, model.vision.size, texts.length);
      return { images, labels: labels.map((label) => longestFirst[label] ?? 0) };
    },
    judge: judgeOf(model, { loss, texts, head }),
  };
}

/**
 * Of a batch's own texts a loss says little where images come class by class: each is asked about the texts of all classes,
 * as a head of texts is.
 */
function judgeOf(model: ImageModel, { loss, texts, head }: ContrastiveOptions): Judge<ImageBatch> {
  let factor = NaN;
  const each = texts.map((text) => [text]);
  return classJudge(model, { of: "joint", scale: () => factor }, head, async (linears) => {
    await head.fill(model, each, linears);
    const scale = await model.logitScale();
    factor = loss === "clip" ? Math.exp(scale) : scale;
  });
}

/** Cross-entropies of x · otherᵀ, (rows, 1). */
function recordTerms(recorder: Recorder, x: Tensor, other: Tensor, targets: Tensor): Tensor {
  const inputs = { x, weight: other, bias: undefined, targets };
  const { y, lse } = recorder.apply(OPS.nll, inputs, { softcap: undefined });
  recorder.release(lse);
  return y;
}

/** The mean of both, (rows, 1), which are released. */
function recordMean(recorder: Recorder, a: Tensor, b: Tensor): Tensor {
  const scale = recorder.upload("half", [1, 1], Float32Array.of(0.5));
  const { y: half } = recorder.apply(OPS.scaleColumns, { x: a, scale, bias: undefined, residual: undefined }, {});
  const { y } = recorder.apply(OPS.scaleColumns, { x: b, scale, bias: undefined, residual: half }, {});
  recorder.release(a, b, half, scale);
  return y;
}
