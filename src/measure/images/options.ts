import { choice, integer, type OptionValues, repeat, text } from "../../terminal/options/command.ts";
import { ADAPTER_OPTIONS, IMAGE_QUANTIZE_OPTION } from "../../terminal/options/shared/model.ts";
import { partOptions } from "../../terminal/options/shared/job.ts";
import type { QuantizedJson } from "../../terminal/quantized.ts";

/** What every command about images says of its model. */
export const MODEL_OPTIONS = {
  adapter: repeat(text({ value: "A", topic: "Adapters", help: "adapter to add" })),
  ...ADAPTER_OPTIONS,
  quantize: IMAGE_QUANTIZE_OPTION,
};

/** Their values. */
export type ImageModelFlags = OptionValues<typeof MODEL_OPTIONS>;

/** What commands that measure a model on labeled images are told of its head. */
export const HEAD_OPTIONS = {
  head: choice(["linear", "cls", "zero-shot"], {
    topic: "Head",
    help: "classification head: trained, linear or on the class token, or the class names' text embeddings (frozen)",
    defaultText: "the trained one, else zero-shot",
  }),
  templates: text({
    value: "simple|openai|FILE",
    topic: "Head",
    help: "prompt templates of a zero-shot head; openai: CLIP's; FILE: one a line, {} is the class",
    defaultText: "simple",
  }),
};

/** Their values. */
export type HeadFlags = OptionValues<typeof HEAD_OPTIONS>;

/** The options of `randlora eval images`. */
export const ACCURACY_OPTIONS = {
  data: text({
    value: "DIR",
    topic: "Images",
    help: "a folder with test/CLASS/*, a list or parquet, as finetune has",
  }),
  split: choice(["train", "valid", "test"], { topic: "Images", help: "split of the images", default: "test" }),
  dataset: text({
    value: "NAME",
    topic: "Images",
    help: "named image dataset: class names and prompts of --data",
  }),
  ...HEAD_OPTIONS,
  batchSize: integer({
    value: "B",
    topic: "Images",
    help: "number of images in a batch",
    min: 1,
    default: 32,
  }),
  ...MODEL_OPTIONS,
  ...partOptions(),
} as const;

export type AccuracyFlags = OptionValues<typeof ACCURACY_OPTIONS>;

/** @json eval images */
export interface AccuracyJson {
  readonly images: number;
  /** Top-1, from 0 to 1. */
  readonly accuracy: number;
  /** Mean cross-entropy. */
  readonly loss: number;
  /** Accuracy by class. */
  readonly per_class: Readonly<Record<string, number | null>>;
  /** Of reading, preparing and classifying. */
  readonly seconds: number;
  readonly images_per_s: number;
}

/** The options of `randlora embed`. */
export const EMBED_OPTIONS = {
  prompt: text({ short: "p", topic: "Text", help: "text to embed instead of images, with a text encoder" }),
  ...MODEL_OPTIONS,
};

export type EmbedFlags = OptionValues<typeof EMBED_OPTIONS>;

/** @json embed */
export interface EmbeddingsJson extends QuantizedJson {
  /** A list of numbers for each image, or the text. */
  readonly embeddings: readonly (readonly number[])[];
}
