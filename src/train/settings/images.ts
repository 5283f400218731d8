import * as v from "valibot";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { AUGMENTATIONS, CONTRASTIVE_LOSSES, HEADS, TASKS, TOWERS } from "./image-choices.ts";

// What a run says of images and of what is learnt from them: a part of run.json, null with texts.

const name = v.pipe(v.string(), v.minLength(1));

export const IMAGE_SETTINGS = {
  task: v.picklist(TASKS),
  /** Of `classify`. */
  head: v.nullable(v.picklist(HEADS)),
  /** Of a head that is trained. */
  headLearningRate: v.nullable(v.pipe(v.number(), v.finite(), v.minValue(0))),
  /** Draw a head that is trained, whatever head the model has. (Runs of earlier versions do not say.) */
  newHead: v.optional(v.boolean(), false),
  /** Of `contrastive`: what is adapted, and which loss. */
  towers: v.nullable(v.picklist(TOWERS)),
  loss: v.nullable(v.picklist(CONTRASTIVE_LOSSES)),
  /** Where texts are read: `simple`, `openai` or a file. */
  templates: v.nullable(name),
  /** One of the paper's sets. */
  dataset: v.nullable(name),
  /** Images of each class, or a part of all. */
  shots: v.nullable(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
  fraction: v.nullable(v.pipe(v.number(), v.gtValue(0), v.maxValue(1))),
  augment: v.picklist(AUGMENTATIONS),
  /** Images that cannot be read are left out. */
  skipBadImages: v.boolean(),
} as const;

export type ImageSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof IMAGE_SETTINGS, undefined>>>;

/** What the settings of images depend on. */
export interface ImageFacts {
  /** Has the model an encoder of texts? */
  readonly texts: boolean;
  /** The run's learning rate, and its micro-batches a step. */
  readonly learningRate: number;
  readonly gradAccum: number;
}

/**
 * Settings for images, with defaults for what was not given.
 * @throws RandloraError `usage` naming the flags of those that contradict each other or the model
 */
export function resolveImages(asked: Partial<ImageSettings>, facts: ImageFacts): ImageSettings {
  const { texts, learningRate, gradAccum } = facts;
  const { task = "classify", shots = null, fraction = null } = asked;
  const isContrastive = task === "contrastive";
  const head = isContrastive ? null : (asked.head ?? (texts ? "zero-shot" : "linear"));
  const isTrained = head === "linear" || head === "cls";
  // Of the encoders that of images is adapted where classes are told apart.
  const { towers, ...rest } = asked;
  const beside = isContrastive || towers === "vision" ? rest : asked;
  refuse(beside, isContrastive ? ["head", "headLearningRate", "newHead"] : ["towers", "loss"], `--task ${task}`);
  if (!isContrastive) refuse(asked, isTrained ? ["templates"] : ["headLearningRate", "newHead"], `--head ${head}`);
  if (!texts && !isTrained) {
    const what = isContrastive ? "--task contrastive" : `--head ${head}`;
    throw new RandloraError(
      "usage",
      `${what}: this model has no encoder of texts`,
      "give --head linear, or a CLIP model",
    );
  }
  if (isContrastive && gradAccum > 1) {
    const cause = `--grad-accum ${gradAccum}: the contrastive loss compares all images of a step and is no sum over micro-batches`;
    throw new Contradiction(["gradAccum", "task"], cause, "give a larger --batch-size instead");
  }
  if (shots !== null && fraction !== null) {
    const cause = "--shots and --fraction: both say what part to train on";
    throw new Contradiction(["shots", "fraction"], cause, "give one of them");
  }
  return {
    task,
    head,
    headLearningRate: isTrained ? (asked.headLearningRate ?? learningRate) : null,
    newHead: asked.newHead ?? false,
    towers: towers ?? (isContrastive ? "both" : null),
    loss: isContrastive ? (asked.loss ?? "clip") : null,
    templates: isTrained ? null : (asked.templates ?? "simple"),
    dataset: asked.dataset ?? null,
    shots,
    fraction,
    augment: asked.augment ?? "none",
    skipBadImages: asked.skipBadImages ?? false,
  };
}

function refuse(asked: Partial<ImageSettings>, keys: readonly (keyof ImageSettings)[], beside: string): void {
  const foreign = keys.find((key) => (asked[key] ?? null) !== null);
  if (foreign === undefined) return;
  const flag = `--${foreign.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  throw new Contradiction([foreign, "task", "head"], `${flag} has no meaning with ${beside}`, "leave it out");
}
