import type { KernelDtype } from "../../../compute/device/dtype.ts";
import type { Device } from "../../../compute/device/device.ts";
import { RandloraError } from "../../../files/errors.ts";
import { areNamed, type ImageClassifier } from "../../images/classifier.ts";
import type { LoadedImageModel } from "../../images/model.ts";
import { readRows } from "../../../compute/tensor/read-rows.ts";
import { Run } from "../../../compute/tensor/run.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import type { KeptBatches } from "../../images/batches.ts";
import { type LossOptions, Mixture, type Plane, type Shares } from "./plane.ts";
import { type ImageVariantOptions, openImageVariant } from "../variants.ts";
import { needsAllInF32, type Variant, type VariantsPlan } from "../plan-variants.ts";

export interface ImagePlaneOptions extends Omit<ImageVariantOptions, "dtype"> {
  /** Gives the first corner's model its head. */
  readonly classifierOf: (opened: LoadedImageModel) => Promise<ImageClassifier>;
  /** The images, by the classes of that head. */
  readonly batchesOf: (classifier: ImageClassifier) => Promise<KeptBatches>;
}

/** What is mixed of a model. */
interface Parts {
  readonly images: readonly Tensor[];
  /** Of a head of texts: what it is made with. */
  readonly texts: readonly Tensor[];
  /** Of a trained head. */
  readonly head: readonly Tensor[];
}

/** The plane of three variants of a model of images; its loss is the mean cross-entropy over all images. */
export class ImagePlane implements Plane {
  readonly #opened: LoadedImageModel;
  readonly #classifier: ImageClassifier;
  readonly #batches: KeptBatches;
  readonly #corners: Mixture;
  readonly #matrices: readonly Tensor[];
  /** Do corners differ in what makes a head of texts? */
  readonly #mixesTexts: boolean;
  readonly #run: Run;

  private constructor(
    opened: LoadedImageModel,
    classifier: ImageClassifier,
    batches: KeptBatches,
    corners: Mixture,
    mixed: readonly boolean[],
  ) {
    const { images, texts, head } = partsOf(opened, classifier);
    this.#opened = opened;
    this.#classifier = classifier;
    this.#batches = batches;
    this.#corners = corners;
    this.#matrices = [...images, ...texts, ...head];
    this.#mixesTexts = texts.some((_, at) => mixed[images.length + at] === true);
    this.#run = new Run(opened.gpu);
  }

  /**
   * Keeps the weights of the three corners; the first one's model is then the one in which they are mixed.
   * @throws RandloraError as `openImageVariant` and `classifierOf`; `usage` for corners with different heads
   */
  static async load(
    gpu: Device,
    plan: VariantsPlan,
    [first, ...others]: readonly [Variant, Variant, Variant],
    { classifierOf, batchesOf, ...options }: ImagePlaneOptions,
  ): Promise<ImagePlane> {
    const all = needsAllInF32(plan);
    const dtype = (names: readonly string[]): KernelDtype | undefined =>
      all || names.some((name) => plan.changed.has(name)) ? "F32" : undefined;
    using resources = new DisposableStack();
    const open = (variant: Variant) => openImageVariant(gpu, plan, variant, { ...options, dtype });
    const opened = resources.use(await open(first));
    const classifier = resources.use(await classifierOf(opened));
    const batches = await batchesOf(classifier);
    const corners = resources.use(new Mixture(gpu));
    const { images, texts, head } = partsOf(opened, classifier);
    const buffers = new Set([...plan.changed].map((name) => opened.model.tensors.get(name)?.buffer));
    const isOwn = opened.trained?.kind === "cls"; // such a head is no tensor of the model
    const mixed = [
      ...[...images, ...texts].map(({ buffer }) => all || buffers.has(buffer)),
      ...head.map(({ buffer }) => all || isOwn || buffers.has(buffer)),
    ];
    await corners.add([...images, ...texts, ...head], mixed);
    for (const variant of others) {
      using other = await open(variant);
      const parts = partsOf(other, classifier);
      await corners.add([...parts.images, ...parts.texts, ...parts.head], mixed);
    }
    resources.move();
    return new ImagePlane(opened, classifier, batches, corners, mixed);
  }

  async loss(shares: Shares, { onItems, signal }: LossOptions = {}): Promise<number> {
    const { gpu } = this.#opened;
    const run = this.#run;
    this.#corners.mix(run, this.#matrices, shares);
    await run.submit();
    if (this.#mixesTexts) await this.#classifier.refresh();
    let sum = 0;
    let count = 0;
    for await (const batch of this.#batches) {
      signal?.throwIfAborted();
      const { length } = batch.labels;
      const losses = run.keep(this.#classifier.recordLosses(run, batch));
      try {
        await run.submit();
        for (const value of await readRows(gpu, losses, 0, length)) sum += value;
      } finally {
        gpu.memory.release(losses.buffer);
      }
      count += length;
      onItems?.(length);
    }
    return sum / count;
  }

  [Symbol.dispose](): void {
    this.#run[Symbol.dispose]();
    this.#corners[Symbol.dispose]();
    this.#classifier[Symbol.dispose]();
    this.#opened[Symbol.dispose]();
  }
}

/** @throws RandloraError `usage` for a model that has not the head that the classifier has */
function partsOf({ model, trained }: LoadedImageModel, { kind, classes }: ImageClassifier): Parts {
  const images = model.vision.matrices;
  if (kind === "zero-shot") {
    const { text, joint } = model;
    if (text !== undefined && joint !== undefined) {
      return { images, texts: [...text.matrices, joint.vision, joint.text, joint.logitScale], head: [] };
    }
    throw new RandloraError("usage", "a corner without an encoder of texts", "give --head linear, if all have one");
  }
  if (trained?.kind !== kind) {
    const hint = "all three need the same one; or give --head zero-shot";
    throw new RandloraError("usage", `a corner with ${headName(trained?.kind)}, and A with ${headName(kind)}`, hint);
  }
  const isSame = areNamed(trained.classes)
    ? Bun.deepEquals(trained.classes, classes)
    : trained.classes.length === classes.length;
  if (!isSame) {
    const cause = `a corner whose head has other classes than A's: ${trained.classes.length}, and ${classes.length}`;
    throw new RandloraError("usage", cause, "all three need the same ones, in the same order");
  }
  const { weight, bias } = trained.head;
  return { images, texts: [], head: bias === undefined ? [weight] : [weight, bias] };
}

function headName(kind: ImageClassifier["kind"] | undefined): string {
  return kind === undefined ? "no head" : `a head of kind ${kind}`;
}
