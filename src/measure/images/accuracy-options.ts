import { choice, integer, type OptionValues, text } from "../../terminal/options/command.ts";
import { partOptions } from "../../terminal/options/shared/job.ts";
import { HEAD_OPTIONS } from "./head-options.ts";
import { MODEL_OPTIONS } from "./model-options.ts";

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
