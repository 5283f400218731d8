import type { Device } from "../../compute/device/device.ts";
import type { TensorReader } from "../../files/safetensors/checkpoint.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { type Linears, PLAIN_LINEARS } from "../blocks/linears.ts";
import { PlacedWeights, type Quantized } from "../placed-weights.ts";
import type { WeightOptions } from "../weight-format.ts";
import { checkTensors, type PlannedMatrix, plannedMatrix, plannedVector } from "../tensor-plan.ts";
import type { ImageConfig } from "./config.ts";
import { type Head, recordHead } from "./heads.ts";
import type { Images, Size } from "./patches.ts";
import { planText, TextTower } from "./text-tower.ts";
import { planVision } from "./vision-plan.ts";
import { VisionTower } from "./vision-tower.ts";

export interface ImageModelOptions extends WeightOptions {
  /** Of the images; by default the size that the checkpoint's positions are for. */
  readonly size?: Size | undefined;
  /** Leave the encoder of texts out. */
  readonly withoutText?: boolean | undefined;
}

/** How a pass goes through a model. */
export interface PassOptions {
  /** How the layers' projections are computed; by default with the weights as they are. */
  readonly linears?: Linears;
  /** Keep the hidden states between layers alone; see `Recorder.segment`. */
  readonly checkpointing?: boolean;
}

/** Two matrices that bring images and texts to vectors of one size, and what their cosine is multiplied by. */
export interface Joint {
  readonly vision: Tensor;
  readonly text: Tensor;
  /** log of the factor, (1, 1) F32. */
  readonly logitScale: Tensor;
}

/** CLIP or DINOv2 in GPU memory, for images of one size. */
export class ImageModel {
  readonly config: ImageConfig;
  readonly vision: VisionTower;
  /** Undefined where the checkpoint has none, or it was left out. */
  readonly text: TextTower | undefined;
  readonly joint: Joint | undefined;
  /** The checkpoint's own. */
  readonly head: Head | undefined;
  readonly #gpu: Device;
  readonly #placed: PlacedWeights;

  private constructor(gpu: Device, checkpoint: TensorReader, config: ImageConfig, options: ImageModelOptions) {
    const { size, withoutText = false } = options;
    const { text, projections, classifier } = config;
    const placed = new PlacedWeights(gpu, checkpoint, options);
    this.#gpu = gpu;
    this.config = config;
    this.#placed = placed;
    this.vision = new VisionTower(placed, config.vision, size ?? config.vision.image);
    this.text = text && !withoutText ? new TextTower(placed, text) : undefined;
    this.joint = projections && placed.placeAll(planJoint(projections, config));
    this.head = classifier && placed.placeAll(planHead(classifier, this.vision.features));
  }

  /**
   * Checks the checkpoint against the config and allocates GPU memory for it; `fill` then reads it.
   * @throws RandloraError `model` for weights that are missing, left over or of another shape; `memory`
   */
  static allocate(
    gpu: Device,
    checkpoint: TensorReader,
    config: ImageConfig,
    options: ImageModelOptions = {},
  ): ImageModel {
    checkImagePlan(config, checkpoint);
    return new ImageModel(gpu, checkpoint, config, options);
  }

  /** Each tensor of the checkpoint that was placed, by its name: a view of the matrix that it is a part of. */
  get tensors(): ReadonlyMap<string, Tensor> {
    return new Map(this.#placed.tensors);
  }

  /** The quantized weights of the layers; undefined: there are none. */
  get quantized(): Quantized | undefined {
    return this.#placed.quantized;
  }

  /** Reads every tensor; see `PlacedWeights.fill`. */
  async fill(onBytes?: (bytes: number) => void, signal?: AbortSignal): Promise<void> {
    await this.#placed.fill(onBytes, signal);
  }

  /**
   * Records the pass over images of the model's size: transformers' last_hidden_state, (images · tokens, width). The
   * caller releases it.
   */
  recordHidden(recorder: Recorder, images: Images, options: PassOptions = {}): Tensor {
    const { linears = PLAIN_LINEARS, checkpointing = false } = options;
    return this.vision.recordHidden(recorder, linears, images, checkpointing);
  }

  /**
   * Records what stands for each image: CLIP's `get_image_features`, DINOv2's normed class token; (images, size). The
   * caller releases it.
   */
  recordImages(recorder: Recorder, images: Images, options: PassOptions = {}): Tensor {
    const hidden = this.recordHidden(recorder, images, options);
    const pooled = this.vision.recordClassTokens(recorder, hidden);
    recorder.release(hidden);
    return this.joint === undefined ? pooled : project(recorder, pooled, this.joint.vision, options);
  }

  /**
   * Records what stands for each text: CLIP's `get_text_features`, (texts, size). The caller releases it.
   * @param texts token ids, special tokens included
   * @throws RandloraError `model` for texts that do not fit
   */
  recordTexts(recorder: Recorder, texts: readonly (readonly number[])[], options: PassOptions = {}): Tensor {
    const { text, joint } = this;
    if (text === undefined || joint === undefined) throw new TypeError("a model without an encoder of texts");
    const { linears = PLAIN_LINEARS, checkpointing = false } = options;
    return project(recorder, text.recordTexts(recorder, linears, texts, checkpointing), joint.text, options);
  }

  /** Records what the checkpoint's own classifier makes of images: logits (images, classes). The caller releases it. */
  recordLogits(recorder: Recorder, images: Images, options: PassOptions = {}): Tensor {
    if (this.head === undefined) throw new TypeError("a model without a classifier");
    const hidden = this.recordHidden(recorder, images, options);
    const features = this.vision.recordFeatures(recorder, hidden);
    const logits = recordHead(recorder, features, this.head);
    recorder.release(hidden, features);
    return logits;
  }

  /** The logarithm of what the cosine of image and text is multiplied by. @throws RandloraError `gpu` */
  async logitScale(): Promise<number> {
    if (this.joint === undefined) throw new TypeError("a model without a scale of logits");
    const [value = NaN] = await readRows(this.#gpu, this.joint.logitScale, 0, 1);
    return value;
  }

  release(): void {
    this.#placed.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** The matrices of a model by what they belong to. */
export interface PlannedParts {
  readonly vision: readonly PlannedMatrix[];
  readonly text: readonly PlannedMatrix[];
  readonly joint: ReturnType<typeof planJoint> | undefined;
  readonly head: readonly PlannedMatrix[];
}

export function plannedParts(config: ImageConfig): PlannedParts {
  const { vision, text, projections, classifier } = config;
  const features = vision.features.length * vision.encoder.width;
  return {
    vision: planVision(vision),
    text: text === undefined ? [] : planText(text),
    joint: projections && planJoint(projections, config),
    head: classifier === undefined ? [] : Object.values(planHead(classifier, features)),
  };
}

/** Every matrix of the model. */
export function plannedMatrices(config: ImageConfig): PlannedMatrix[] {
  const { vision, text, joint, head } = plannedParts(config);
  return [...vision, ...text, ...Object.values(joint ?? {}), ...head];
}

/** Does the checkpoint hold exactly these? @throws RandloraError `model`; see `checkTensors` */
export function checkImagePlan(config: ImageConfig, checkpoint: TensorReader): void {
  const { architecture, isSuperfluous } = config;
  checkTensors(plannedMatrices(config), checkpoint, { architecture, isSuperfluous });
}

function planJoint({ vision, text, logitScale }: NonNullable<ImageConfig["projections"]>, config: ImageConfig) {
  return {
    vision: plannedMatrix(config.vision.encoder.width, vision),
    text: plannedMatrix(config.text?.encoder.width ?? NaN, text),
    logitScale: plannedVector(logitScale),
  };
}

function planHead({ weight, bias }: NonNullable<ImageConfig["classifier"]>, features: number) {
  return { weight: plannedMatrix(features, weight), bias: plannedVector(bias) };
}

/** x Wᵀ; x is released. */
function project(recorder: Recorder, x: Tensor, weight: Tensor, { linears = PLAIN_LINEARS }: PassOptions): Tensor {
  const y = linears.apply(recorder, { x, weight, bias: undefined, residual: undefined });
  recorder.release(x);
  return y;
}
