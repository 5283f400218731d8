import type { ImageSet } from "../../data/images/datasets/types.ts";
import { ALONE, gatherComputed } from "../../mpi/processes.ts";
import { judge } from "../../train/model/task.ts";
import { type BatchOptions, imageBatches } from "./batches.ts";
import type { ImageClassifier } from "./classifier.ts";

/** How well a classifier tells a set's images apart. */
export interface ImageScores {
  readonly images: number;
  /** The part of the images whose likeliest class is theirs. */
  readonly accuracy: number;
  /** Mean cross-entropy, in nats. */
  readonly loss: number;
  /** The same part of each class, by its name; undefined for a class without images. */
  readonly perClass: ReadonlyMap<string, number | undefined>;
}

export interface AccuracyOptions extends BatchOptions {
  /** Told after each batch how many images it had. */
  readonly onImages?: ((count: number) => void) | undefined;
}

/**
 * Classifies every image of a set. Of equal logits the first class counts, as torch's argmax has it.
 * @param set its labels are rows of the classifier's head
 * @throws RandloraError as `imageBatches`; `memory`, `gpu`
 */
export async function measureAccuracy(
  classifier: ImageClassifier,
  set: ImageSet,
  { onImages, ...options }: AccuracyOptions,
): Promise<ImageScores> {
  const count = set.labels.length;
  const seen = new Uint32Array(set.classes.length);
  const right = new Uint32Array(set.classes.length);
  let loss = 0;
  // Of each image its label, its loss, and whether it is taken for what it is.
  const all = await gatherComputed(options.processes ?? ALONE, async () => {
    const own: number[] = [];
    for await (const { images, labels } of imageBatches(set, options)) {
      const logits = await classifier.logits(images);
      for (const [at, label] of labels.entries()) {
        const verdict = judge(logits[at] ?? new Float32Array(), label);
        own.push(label, verdict.loss, Number(verdict.isRight));
      }
      onImages?.(labels.length);
    }
    return own;
  });
  for (let at = 0; at < all.length; at += 3) {
    const [label = 0, lost = NaN, isRight = 0] = all.slice(at, at + 3);
    loss += lost / count;
    seen[label] = (seen[label] ?? 0) + 1;
    right[label] = (right[label] ?? 0) + isRight;
  }
  const part = (label: number) => (seen[label] === 0 ? undefined : (right[label] ?? 0) / (seen[label] ?? NaN));
  return {
    images: count,
    accuracy: right.reduce((sum, number) => sum + number, 0) / count,
    loss,
    perClass: new Map(set.classes.map((name, label) => [name, part(label)])),
  };
}
