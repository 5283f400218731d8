import { Contradiction } from "../../files/errors.ts";
import { choice, flag, integer, required, text } from "../../terminal/options/command.ts";
import { flagName } from "../../terminal/options/names.ts";

const topic = "Data";

/** What both analyses are of. */
export const BASE_ARGUMENT = required(
  "MODEL",
  "the base: a folder, an index.json, one .safetensors or .gguf file, or org/name on the Hub",
);

/** What both analyses are told of data. */
export const SAMPLE_OPTIONS = {
  data: text({
    value: "FILE|DIR",
    topic,
    help: "samples as finetune reads them; of a folder test.jsonl, else valid.jsonl, else train.jsonl; or images",
  }),
  dataset: text({ value: "NAME", topic, help: "named image dataset that DIR holds in its own layout" }),
  split: choice(["train", "valid", "test"], {
    topic,
    help: "split of the images",
    defaultText: "test, else valid, else train",
  }),
  maxLength: integer({
    value: "L",
    topic,
    help: "maximum sample length in tokens; longer ones are truncated",
    min: 2,
    defaultText: "1024, or the model's context if smaller",
  }),
} as const;

/** Flags that say nothing of a model of texts, or nothing of one of images. @throws RandloraError `usage` */
export function refuseForeign(
  isOfImages: boolean,
  flags: { readonly texts: Readonly<Record<string, unknown>>; readonly images: Readonly<Record<string, unknown>> },
): void {
  const [kind, foreign] = isOfImages ? ["images", flags.texts] : ["texts", flags.images];
  const given = Object.entries(foreign).find(([, value]) => value !== undefined)?.[0];
  if (given === undefined) return;
  const cause = `--${flagName(given)}: MODEL is a model of ${kind}, which has no such thing`;
  throw new Contradiction([given], cause, "leave it out");
}

/** Where both analyses put a figure. */
export const IMAGE_OPTIONS = {
  svg: text({ value: "FILE", topic: "Output", help: "SVG file for a figure" }),
  force: flag({ topic: "Output", help: "replace an existing figure" }),
} as const;
