import { Contradiction, RandloraError } from "../../files/errors.ts";
import { IMAGE_OPTIONS } from "./image-options.ts";
import { withUsual } from "./setting.ts";
import { flagOf, type ImageSettings } from "./settings.ts";

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
  const usual = withUsual(IMAGE_OPTIONS, asked);
  const { task, shots, fraction } = usual;
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
    ...usual,
    head,
    headLearningRate: isTrained ? (asked.headLearningRate ?? learningRate) : null,
    towers: towers ?? (isContrastive ? "both" : null),
    loss: isContrastive ? (asked.loss ?? "clip") : null,
    templates: isTrained ? null : (asked.templates ?? "simple"),
  };
}

function refuse(asked: Partial<ImageSettings>, keys: readonly (keyof ImageSettings)[], beside: string): void {
  const foreign = keys.find((key) => (asked[key] ?? null) !== null);
  if (foreign === undefined) return;
  throw new Contradiction(
    [foreign, "task", "head"],
    `${flagOf(foreign)} has no meaning with ${beside}`,
    "leave it out",
  );
}
