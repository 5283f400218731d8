import { choice, integer, number, text, toggle } from "../../terminal/options/command.ts";
import { pathOption } from "./readers.ts";
import { setting } from "./setting.ts";

const topic = "Images (CLIP, DINOv2)";

/** `--templates` that are no file. */
const TEMPLATES = ["simple", "openai"];

/** The part of the table that is about images: in run.json's order, where it is `images`. */
export const IMAGE_OPTIONS = {
  task: setting(
    choice(["classify", "contrastive"], { topic, help: "training task: classification, or contrastive as CLIP's" }),
    { usual: "classify", compare: "all" },
  ),
  head: setting(
    choice(["linear", "cls", "zero-shot"], {
      topic,
      help: "classification head: trained, linear or on the class token, or the class names' text embeddings (frozen)",
      defaultText: "zero-shot with CLIP, else linear",
    }),
    { orNull: true, compare: "all" },
  ),
  headLearningRate: setting(
    number({
      value: "LR",
      topic,
      help: "peak learning rate of a trained head",
      min: 0,
      defaultText: "as --learning-rate",
    }),
    { orNull: true, compare: "all" },
  ),
  newHead: setting(toggle({ topic, help: "initialize a new head, even if the model has one" }), {
    usual: false,
    earlier: false,
    compare: "all",
  }),
  towers: setting(
    choice(["vision", "text", "both"], {
      topic,
      help: "encoders to adapt, with --task contrastive",
      defaultText: "both",
    }),
    { orNull: true, compare: "all" },
  ),
  loss: setting(
    choice(["clip", "paper"], {
      topic,
      help: "contrastive loss: CLIP's, or images against texts only, as in the paper's code",
      defaultText: "clip",
    }),
    { orNull: true, compare: "all" },
  ),
  templates: setting(
    pathOption(
      {
        value: "simple|openai|FILE",
        topic,
        help: "prompt templates of a zero-shot head; openai: CLIP's; FILE: one a line, {} is the class",
        defaultText: "simple",
      },
      TEMPLATES,
    ),
    { orNull: true, compare: "all" },
  ),
  dataset: setting(text({ value: "NAME", topic, help: "named image dataset: class names and prompts of --data" }), {
    usual: null,
    compare: "all",
  }),
  shots: setting(integer({ topic, help: "training images per class", min: 1, defaultText: "all" }), {
    usual: null,
    compare: "all",
  }),
  fraction: setting(
    number({ value: "F", topic, help: "fraction of the training images", above: 0, max: 1, defaultText: "1" }),
    { usual: null, compare: "all" },
  ),
  augment: setting(
    choice(["none", "crop-flip"], {
      topic,
      help: "data augmentation: a random half or more of the image, mirrored at random",
    }),
    { usual: "none", compare: "all" },
  ),
  skipBadImages: setting(
    toggle({ topic, help: "skip unreadable images and list them (also with --resume)" }),
    // What was trained so far had no bad images.
    { usual: false, compare: "all", resume: "run" },
  ),
} as const;
