import type { Device } from "../../compute/device/device.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";
import { Run } from "../../compute/tensor/run.ts";
import { type Linears, PLAIN_LINEARS } from "../../models/blocks/linears.ts";
import type { Head } from "../../models/vision/heads.ts";
import { recordHead, recordUnit } from "../../models/vision/heads.ts";
import type { ImageModel, PassOptions } from "../../models/vision/image-model.ts";
import type { Images } from "../../models/vision/patches.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import { type Tensor, tensorBytes, tensorIn } from "../../compute/tensor/tensor.ts";
import { grey, type ImageBatch } from "./batch.ts";
import type { Judge, Task } from "../model/task.ts";

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

/** Texts that go through the encoder at once. */
const TEXTS_AT_ONCE = 64;

/**
 * A frozen head made of texts: of each class the mean of its texts' vectors of length 1, made as long again (CLIP,
 * arXiv:2103.00020, section 3.1.4).
 */
export class ZeroShotHead implements Head {
  /** (classes, size of the joint space) F32; undefined content before {@link fill}. */
  readonly weight: Tensor;
  readonly bias: undefined;
  readonly #gpu: Device;

  /** @throws RandloraError `memory` */
  constructor(gpu: Device, classes: number, size: number) {
    const shape = [classes, size] as const;
    this.#gpu = gpu;
    this.weight = tensorIn(gpu.memory.allocate("zero-shot head", tensorBytes(shape, "F32")), shape, "F32");
  }

  /**
   * Computes the head.
   * @param texts of each class, as token ids with their special tokens
   * @param linears how the layers' projections are computed: by default with the weights as they are
   * @throws RandloraError `model` for texts that do not fit the model; `memory`, `gpu`
   */
  async fill(
    model: ImageModel,
    texts: readonly (readonly (readonly number[])[])[],
    linears: Linears = PLAIN_LINEARS,
  ): Promise<void> {
    const [classes, size] = this.weight.shape;
    const all = texts.flatMap((some, label) => some.map((ids) => ({ ids, label })));
    if (texts.length !== classes || texts.some(({ length }) => length === 0))
      throw new RangeError("a class without texts");
    const sums = new Float64Array(classes * size);
    using run = new Run(this.#gpu);
    for (let begin = 0; begin < all.length; begin += TEXTS_AT_ONCE) {
      const some = all.slice(begin, begin + TEXTS_AT_ONCE);
      const vectors = run.keep(
        model.recordTexts(
          run,
          some.map(({ ids }) => ids),
          { linears },
        ),
      );
      await run.submit();
      const numbers = await readRows(this.#gpu, vectors, 0, some.length);
      this.#gpu.memory.release(vectors.buffer);
      for (const [row, { label }] of some.entries()) {
        const sum = sums.subarray(label * size, (label + 1) * size);
        addUnit(sum, numbers.subarray(row * size, (row + 1) * size));
      }
    }
    const { pitch, buffer } = this.weight;
    const rows = new Float32Array(classes * pitch);
    for (let row = 0; row < classes; row++) {
      const unit = new Float64Array(size);
      addUnit(unit, sums.subarray(row * size, (row + 1) * size));
      rows.set(unit, row * pitch);
    }
    this.#gpu.write(buffer, rows);
  }

  release(): void {
    this.#gpu.memory.release(this.weight.buffer);
  }
}

/** sum += vector / ‖vector‖. */
function addUnit(sum: Float64Array, vector: Float32Array | Float64Array): void {
  let square = 0;
  for (const value of vector) square += value * value;
  const length = Math.sqrt(square);
  for (const [at, value] of vector.entries()) sum[at] = (sum[at] ?? NaN) + value / length;
}
