import { choice, flag, integer, path, text } from "../src/options/command.ts";
import { GENERATOR_NAMES } from "../src/random/names.ts";

const topic = "Data";

/** What both analyses are told of data. */
export const SAMPLE_OPTIONS = {
  data: text({
    value: "FILE|DIR",
    topic,
    help: "samples as finetune reads them; of a folder test.jsonl, else valid.jsonl, else train.jsonl",
  }),
  maxLength: integer({
    value: "L",
    topic,
    help: "cut samples to so many tokens",
    min: 2,
    defaultText: "1024, or the model's context when that is smaller",
  }),
} as const;

/** What both analyses are told of adapters. */
export const GENERATOR_OPTION = choice(GENERATOR_NAMES, {
  value: "NAME",
  topic: "Adapters",
  help: "what drew the bases, where an adapter does not say",
});

/** Where both analyses put a picture. */
export const PICTURE_OPTIONS = {
  svg: path({ value: "FILE", topic: "Output", help: "write a picture, too" }),
  force: flag({ topic: "Output", help: "replace an existing picture" }),
} as const;
