import { choice, integer, number, text, toggle } from "../../terminal/options/command.ts";
import { AUGMENTATIONS, CONTRASTIVE_LOSSES, HEADS, TASKS, TOWERS } from "../settings/image-choices.ts";

const topic = "Images (CLIP, DINOv2)";

/** What `randlora finetune` can be told of images alone. */
export const IMAGE_OPTIONS = {
  task: choice(TASKS, {
    topic,
    help: "training task: classification, or contrastive training of images and texts",
    defaultText: "classify",
  }),
  head: choice(HEADS, {
    topic,
    help: "transformers' linear head or a matrix for the class token, which are trained, or the frozen texts of the classes",
    defaultText: "zero-shot with CLIP, else linear",
  }),
  headLearningRate: number({
    value: "LR",
    topic,
    help: "peak learning rate of a trained head",
    min: 0,
    defaultText: "as --learning-rate",
  }),
  newHead: toggle({
    topic,
    help: "draw a new head to train, instead of going on with the model's own of the same classes",
  }),
  templates: text({
    value: "simple|openai|FILE",
    topic,
    help: "prompts of the classes; FILE: one a line, {} the class",
    defaultText: "simple",
  }),
  towers: choice(TOWERS, { topic, help: "contrastive: what is adapted (classify: vision)", defaultText: "both" }),
  loss: choice(CONTRASTIVE_LOSSES, {
    topic,
    help: "contrastive: CLIP's loss, or of images alone as in the paper's code",
    defaultText: "clip",
  }),
  dataset: text({ value: "NAME", topic, help: "--data DIR is this set of the paper's, in its own layout" }),
  shots: integer({ topic, help: "train on so many images of each class", min: 1 }),
  fraction: number({ value: "F", topic, help: "train on this part of the images", above: 0, max: 1 }),
  augment: choice(AUGMENTATIONS, {
    topic,
    help: "crop-flip: a random part of each image, perhaps mirrored",
    defaultText: "none",
  }),
  skipBadImages: toggle({ topic, help: "leave images out that cannot be read, and name them; with --resume, too" }),
} as const;
