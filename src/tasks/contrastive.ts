import { recordScaledUnit, recordUnit } from "../models/vision/heads.ts";
import type { ImageModel } from "../models/vision/image-model.ts";
import { OPS } from "../tensor/ops/index.ts";
import type { Recorder } from "../tensor/recorder.ts";
import { sliceRows, type Tensor } from "../tensor/tensor.ts";
import { grey, type PictureBatch } from "./pictures.ts";
import type { Task } from "./task.ts";

/**
 * Which loss. clip: the mean of both cross-entropies, of texts for each picture and of pictures for each text, each picture's
 * own text being the right one (arXiv:2103.00020); paper: of texts for each picture alone, where the first text of the
 * same class is the right one, and the cosine's factor is the logarithm that the checkpoint has (RandLoRA's code).
 */
export type ContrastiveLoss = "clip" | "paper";

export interface ContrastiveOptions {
  readonly loss: ContrastiveLoss;
  /** Token ids of each class's text, special tokens included. */
  readonly texts: readonly (readonly number[])[];
}

/** Each picture of a batch against the texts of all pictures of the batch: cross-entropies of their cosines. */
export function contrastive(model: ImageModel, { loss, texts }: ContrastiveOptions): Task<PictureBatch> {
  const { joint } = model;
  if (joint === undefined) throw new TypeError("a model of pictures alone");
  return {
    losses(recorder, linears, { pictures, labels }, { checkpointing }) {
      const options = { linears, checkpointing };
      const count = labels.length;
      const seen = model.recordPictures(recorder, pictures, options);
      const unit = recordScaledUnit(recorder, seen, joint.logitScale, loss === "clip" ? "power" : "itself");
      recorder.release(seen);
      // Equal texts have equal vectors: each class's is worked out once, and stands wherever a picture is of it.
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
      const terms = recorder.allocate("losses", [loss === "clip" ? 2 * count : count, 1]);
      recordTerms(recorder, unit, each, targets, sliceRows(terms, 0, count));
      if (loss === "clip") recordTerms(recorder, each, unit, targets, sliceRows(terms, count, count));
      recorder.release(unit, each, targets);
      return terms;
    },
    termsOf: ({ labels }) => (loss === "clip" ? 2 : 1) * labels.length,
    probe: (size) => grey(size, model.vision.size, texts.length),
  };
}

/** Cross-entropies of x · otherᵀ, (rows, 1), into `y`. */
function recordTerms(recorder: Recorder, x: Tensor, other: Tensor, targets: Tensor, y: Tensor): void {
  const inputs = { x, weight: other, bias: undefined, targets };
  const { lse } = recorder.apply(OPS.nll, inputs, { softcap: undefined }, { y });
  recorder.release(lse);
}
