import { RandloraError } from "../../files/errors.ts";
import { fillTemplate } from "../../data/images/prompts.ts";
import { PLAIN_LINEARS } from "../../models/blocks/linears.ts";
import { type Head, recordHead } from "../../models/vision/heads.ts";
import type { Images } from "../../models/vision/patches.ts";
import { classification, type Features, recordFeatures, ZeroShotHead } from "../../train/images/classification.ts";
import type { ImageBatch } from "../../train/images/batch.ts";
import type { Run } from "../../compute/tensor/run.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import type { LoadedImageModel, TrainedHead } from "./model.ts";

export interface ZeroShotOptions {
  readonly classes: readonly string[];
  /** What prompts call them. */
  readonly texts: readonly string[];
  readonly templates: readonly string[];
  /** The model's. */
  loadTokenizer(): Promise<Tokenizer>;
}

/** A head that is made with the model's weights. */
interface HeadOfTexts {
  fill(): Promise<void>;
  release(): void;
}

/** A model with a head: what it makes of images. The model is the caller's. */
export class ImageClassifier implements Disposable {
  readonly kind: TrainedHead["kind"] | "zero-shot";
  /** By label. */
  readonly classes: readonly string[];
  readonly #opened: LoadedImageModel;
  readonly #head: Head;
  readonly #features: Features;
  readonly #texts: HeadOfTexts | undefined;

  private constructor(
    opened: LoadedImageModel,
    kind: ImageClassifier["kind"],
    classes: readonly string[],
    head: Head,
    features: Features,
    texts?: HeadOfTexts,
  ) {
    this.#opened = opened;
    this.kind = kind;
    this.classes = classes;
    this.#head = head;
    this.#features = features;
    this.#texts = texts;
  }

  /**
   * With the head that was trained, the checkpoint's own or an adapter's.
   * @param kind the one that it must be; any by default
   * @param known the classes of the images, for a head whose rows nothing names: they are then those, in their order
   * @throws RandloraError `usage` without such a head; `data` for a head without names, and another number of classes
   */
  static trained(opened: LoadedImageModel, kind?: TrainedHead["kind"], known?: readonly string[]): ImageClassifier {
    const { trained } = opened;
    if (trained === undefined) {
      const hint = "name an adapter that was trained with one (--adapter), or labels for a CLIP model";
      throw new RandloraError("usage", "the model has no head that was trained", hint);
    }
    if (kind !== undefined && kind !== trained.kind) {
      throw new RandloraError("usage", `--head ${kind}: the head is ${trained.kind}`, `give --head ${trained.kind}`);
    }
    const classes = known === undefined || areNamed(trained.classes) ? trained.classes : known;
    if (classes.length !== trained.classes.length) {
      const cause = `the head has ${trained.classes.length} rows that nothing names, and the images are of ${classes.length} classes`;
      throw new RandloraError("data", cause, "name the rows in classes.json beside the adapter, a JSON array");
    }
    const of = trained.kind === "linear" ? "linear" : "class token";
    return new ImageClassifier(opened, trained.kind, classes, trained.head, { of });
  }

  /**
   * With a head of texts: logits are exp(logit_scale) · cosine of the image and the normalized mean of the normalized
   * vectors of a class's prompts.
   * @throws RandloraError `usage` for a model without an encoder of texts; `model` for a prompt that is too long; `memory`, `gpu`
   */
  static async zeroShot(
    opened: LoadedImageModel,
    { classes, texts, templates, loadTokenizer }: ZeroShotOptions,
  ): Promise<ImageClassifier> {
    const { gpu, model } = opened;
    const { text, joint } = model;
    if (text === undefined || joint === undefined) {
      const cause = "classes of their names alone: this model has no encoder of texts";
      throw new RandloraError("usage", cause, "name a whole CLIP model, or an adapter with a head (--adapter)");
    }
    const tokenizer = await loadTokenizer();
    const prompts = texts.map((name) => templates.map((template) => tokenizer.encode(fillTemplate(template, name))));
    using resources = new DisposableStack();
    const head = new ZeroShotHead(gpu, classes.length, joint.vision.shape[0]);
    resources.defer(() => head.release());
    let factor = NaN;
    const fill = async () => {
      await head.fill(model, prompts);
      factor = Math.exp(await model.logitScale());
    };
    await fill();
    resources.move();
    const own = { fill, release: () => head.release() };
    return new ImageClassifier(opened, "zero-shot", classes, head, { of: "joint", scale: () => factor }, own);
  }

  /** Logits of each image, one a class. @throws RandloraError as `LoadedImageModel.rows` */
  async logits(images: Images): Promise<Float32Array[]> {
    return await this.#opened.rows((run) => {
      const x = recordFeatures(run, this.#opened.model, images, this.#features, {});
      const y = recordHead(run, x, this.#head);
      run.release(x);
      return y;
    });
  }

  /** Records the cross-entropy of each image, (images, 1) F32 in nats. The caller releases it. */
  recordLosses(run: Run, batch: ImageBatch): Tensor {
    const task = classification(this.#opened.model, this.#features, this.#head);
    return task.losses(run, PLAIN_LINEARS, batch, { checkpointing: false });
  }

  /** Computes again what a head of texts is made from: the model's weights have changed. @throws RandloraError `memory`, `gpu` */
  async refresh(): Promise<void> {
    await this.#texts?.fill();
  }

  [Symbol.dispose](): void {
    this.#texts?.release();
  }
}

/** Has anything named these classes, in place of transformers' LABEL_0 and so on? */
export function areNamed(classes: readonly string[]): boolean {
  return classes.some((name, row) => name !== `LABEL_${row}`);
}
