import { HEAD } from "../model/init-adapter.ts";
import type { Within } from "../../adapters/base/base.ts";
import type { SavedModule, SavedTensor } from "../../adapters/method/train.ts";
import type { Parameters } from "../../adapters/method/parameters.ts";
import type { Adapter } from "../../adapters/files/adapter.ts";
import { readValues } from "../../adapters/files/tensors.ts";
import type { Device } from "../../compute/device/device.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import type { ImageConfig } from "../../models/vision/config.ts";
import { type ImageModel, plannedParts } from "../../models/vision/image-model.ts";
import type { PlannedMatrix } from "../../models/tensor-plan.ts";
import { gridOf, type Size } from "../../models/vision/patches.ts";
import { normal } from "../../compute/random/normal.ts";
import { classification, ZeroShotHead } from "./classification.ts";
import { contrastive, type ContrastiveLoss } from "./contrastive.ts";
import type { ImageBatch } from "./batch.ts";
import type { Task } from "../model/task.ts";
import type { ImageSettings } from "../settings/settings.ts";

/** Token ids of a text, special tokens included. */
type Text = readonly number[];

/** What a model of images is trained to do. */
export type ImageTask =
  /** A head that is trained: `linear`, transformers' own; `cls`, a matrix without a bias for the normed class token. */
  | { readonly kind: "classify"; readonly head: "linear" | "cls"; readonly classes: readonly string[] }
  /** A frozen head of each class's texts. */
  | { readonly kind: "classify"; readonly head: "zero-shot"; readonly texts: readonly (readonly Text[])[] }
  /** Images beside their classes' texts. */
  | {
      readonly kind: "contrastive";
      readonly loss: ContrastiveLoss;
      readonly texts: readonly Text[];
      readonly towers: "vision" | "text" | "both";
    };

/** What a task says of the parts of a model, whatever the classes are. */
export type TaskKind =
  | { readonly kind: "classify"; readonly head: "linear" | "cls" | "zero-shot" }
  | { readonly kind: "contrastive"; readonly towers: "vision" | "text" | "both" };

/** The kind of task that settings ask for. */
export function kindOf({ task, head, towers }: Pick<ImageSettings, "task" | "head" | "towers">): TaskKind {
  return task === "contrastive" ? { kind: task, towers: towers ?? "both" } : { kind: task, head: head ?? "zero-shot" };
}

/** Standard deviation of a new head's weights (RandLoRA's experiments). */
const HEAD_DEVIATION = 0.01;

/** Does the task need the encoder of texts? */
export function needsTexts(task: TaskKind): boolean {
  return task.kind === "contrastive" || task.head === "zero-shot";
}

/**
 * How the model that is trained differs from its checkpoint.
 * @throws RandloraError `usage` for a task that needs texts, and a model without an encoder of them
 */
export function withinOf(task: TaskKind, { architecture, text, vision }: ImageConfig): Within {
  const isClip = architecture === "clip";
  const vectors = ["vision_model.", "visual_projection"];
  if (!needsTexts(task)) {
    // transformers' classes for a head: CLIP's has no texts, DINOv2's holds the model as one of its parts.
    const isHeadless = !isClip && !vision.names.lastNorm.startsWith("dinov2.");
    return { prefix: isHeadless ? "dinov2." : "", saved: [HEAD], parts: isClip ? ["vision_model."] : undefined };
  }
  if (text === undefined) {
    const what = task.kind === "contrastive" ? "--task contrastive" : "--head zero-shot";
    throw new RandloraError(
      "usage",
      `${what}: this model has no encoder of texts`,
      "give --head linear, or a CLIP model",
    );
  }
  const texts = ["text_model.", "text_projection"];
  const adapted =
    task.kind === "classify" || task.towers === "vision" ? vectors : task.towers === "text" ? texts : undefined;
  return { prefix: "", saved: [], adapted };
}

/** Rows that the layers see at once of so many images: of an encoder's tokens, the one that has more of them. */
export function rowsOf(task: ImageTask, { vision }: ImageConfig, size: Size | undefined, images: number): number {
  const [rows, cols] = gridOf(size ?? vision.image, vision.patch);
  const seen = images * (1 + rows * cols);
  if (task.kind !== "contrastive") return seen;
  const longest = Math.max(...task.texts.map(({ length }) => length));
  return Math.max(seen, Math.min(images, task.texts.length) * longest);
}

/**
 * The weights that the loss depends on and that are trained where all are: of the encoder of images, or for a contrastive
 * task of the encoders that are asked for, their projections and the scale of the logits. A head of texts stays as it is.
 */
export function trainedMatrices(task: TaskKind, config: ImageConfig): PlannedMatrix[] {
  const { vision, text, joint } = plannedParts(config);
  if (task.kind === "contrastive") {
    if (joint === undefined) return [];
    const ofVision = task.towers === "text" ? [] : [...vision, joint.vision];
    const ofText = task.towers === "vision" ? [] : [...text, joint.text];
    return [...ofVision, ...ofText, joint.logitScale];
  }
  if (task.head === "zero-shot") return joint === undefined ? [] : [...vision, joint.vision];
  const { lastNorm, lastNormOf } = config.vision.names;
  if (task.head === "cls" || lastNormOf === "all") return [...vision];
  // CLIP's own classifier reads patches, which the last norm is not of.
  return vision.filter(({ parts }) => !parts.some(({ name }) => name.startsWith(`${lastNorm}.`)));
}

/**
 * The modules that are trained whole: a head, a new one drawn from the seed.
 * @param from an adapter to go on from, whose head goes on too; one without a head gets a new one
 * @throws RandloraError `adapter` for a head that is not the task's, or of another number of classes
 */
export async function savedModules(
  task: ImageTask,
  { vision }: ImageConfig,
  seed: number,
  from?: Adapter,
): Promise<SavedModule[]> {
  const planned = task.kind === "contrastive" || task.head === "zero-shot" ? [] : newHead(task, vision, seed);
  const found = [...(from?.tensors.values() ?? [])].filter(({ name }) => name.startsWith(`${HEAD}.`));
  if (from === undefined || found.length === 0) return planned.length === 0 ? [] : [{ name: HEAD, tensors: planned }];
  const shapes = (of: readonly { readonly name: string; readonly shape: readonly number[] }[]) =>
    of.map(({ name, shape }) => `${name} [${shape.join(", ")}]`).toSorted();
  const [has, needs] = [shapes(found), shapes(planned.map(({ name, stored }) => ({ name, shape: stored })))];
  if (has.join() !== needs.join()) {
    const cause = `its head is ${has.join(" and ")}, and the run's is ${needs.join(" and ") || "none"}`;
    throw new RandloraError("adapter", `${oneLine(from.file)}: ${cause}`, "train a new adapter for these classes");
  }
  const tensors = await Promise.all(
    planned.map(async (tensor) => {
      const stored = from.tensors.get(tensor.name);
      return stored === undefined ? tensor : { ...tensor, values: await readValues(from, stored) };
    }),
  );
  return [{ name: HEAD, tensors }];
}

/** Parameters of the head that the settings train, for a number of classes; 0: they train none. */
export function headParameters(
  { head }: Pick<ImageSettings, "head">,
  classes: number,
  { vision }: ImageConfig,
): number {
  if (head !== "linear" && head !== "cls") return 0;
  return classes * (featuresOf(head, vision) + (head === "linear" ? 1 : 0));
}

/** The number of features that a head reads of an image. */
function featuresOf(head: "linear" | "cls", { encoder: { width }, features }: ImageConfig["vision"]): number {
  return head === "linear" ? features.length * width : width;
}

function newHead(
  { head, classes: { length: classes } }: Extract<ImageTask, { readonly classes: readonly string[] }>,
  vision: ImageConfig["vision"],
  seed: number,
): SavedTensor[] {
  const features = featuresOf(head, vision);
  const shape = [classes, features] as const;
  const values = normal(classes * features, HEAD_DEVIATION, BigInt(seed));
  const weight = { name: `${HEAD}.weight`, stored: shape, shape, values };
  const zeros = new Float32Array(classes);
  const bias = { name: `${HEAD}.bias`, stored: [classes], shape: [1, classes] as const, values: zeros };
  return head === "linear" ? [weight, bias] : [weight];
}

/** The features that images and texts share. */
function jointSize({ joint }: ImageModel): number {
  if (joint === undefined) throw new TypeError("a model without text");
  return joint.vision.shape[0];
}

/** A task at work, with what it holds itself. */
export interface PlacedTask {
  readonly task: Task<ImageBatch>;
  /** Computes what depends on the weights alone, once they have been read. @throws RandloraError as `ZeroShotHead.fill` */
  begin(): Promise<void>;
}

/** @throws RandloraError `memory` */
export function placeTask(gpu: Device, asked: ImageTask, model: ImageModel, parameters: Parameters): PlacedTask {
  if (asked.kind === "contrastive") {
    const { loss, texts } = asked;
    const head = new ZeroShotHead(gpu, texts.length, jointSize(model));
    return { task: contrastive(model, { loss, texts, head }), begin: async () => {} };
  }
  if (asked.head === "zero-shot") {
    // Read with the weights.
    let logScale = 0;
    const head = new ZeroShotHead(gpu, asked.texts.length, jointSize(model));
    const begin = async () => {
      logScale = await model.logitScale();
      await head.fill(model, asked.texts);
    };
    const task = classification(model, { of: "joint", scale: () => Math.exp(logScale) }, head);
    return { task, begin };
  }
  const value = (name: string) => parameters.get(`${HEAD}.${name}`).value;
  const head = { weight: value("weight"), bias: asked.head === "linear" ? value("bias") : undefined };
  const features = { of: asked.head === "linear" ? "linear" : "class token" } as const;
  return { task: classification(model, features, head), begin: async () => {} };
}
