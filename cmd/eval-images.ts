import { choice, defineCommand, integer, required, text } from "../src/terminal/options/command.ts";
import { HEAD_OPTIONS } from "../src/measure/images/head-options.ts";
import { partOptions } from "../src/terminal/options/shared/job.ts";
import { MODEL_OPTIONS } from "../src/measure/images/model-options.ts";

/** `randlora eval images`. */
export const imagesCommand = defineCommand({
  name: "images",
  summary: "Measure how well CLIP or DINOv2 tells the classes of images apart",
  example: "randlora eval images openai/clip-vit-base-patch32 --adapter my-adapter --data flowers",
  arguments: {
    model: required("MODEL", "a CLIP or DINOv2 model: a folder, one of its files, a run, or org/name on the Hub"),
  },
  options: {
    data: text({
      value: "DIR",
      topic: "Images",
      help: "a folder with test/CLASS/*, a list or parquet, as finetune has",
    }),
    split: choice(["train", "valid", "test"], { topic: "Images", help: "which part of them", default: "test" }),
    dataset: text({ value: "NAME", topic: "Images", help: "named image dataset that DIR holds in its own layout" }),
    ...HEAD_OPTIONS,
    batchSize: integer({
      value: "B",
      topic: "Images",
      help: "number of images in a batch",
      min: 1,
      default: 32,
    }),
    ...MODEL_OPTIONS,
    ...partOptions("the images"),
  },
  async run({ model }, options, context) {
    const { evalImages } = await import("../src/measure/images/accuracy-command.ts");
    await evalImages(model, options, context);
  },
});
