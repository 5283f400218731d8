import { ACCURACY_OPTIONS } from "../src/measure/images/options.ts";
import { defineCommand, required } from "../src/terminal/options/command.ts";

/** `randlora eval images`. */
export const imagesCommand = defineCommand({
  name: "images",
  summary: "Measure the accuracy of CLIP or DINOv2 on labeled images",
  example: "randlora eval images openai/clip-vit-base-patch32 --adapter my-adapter --data flowers",
  arguments: {
    model: required("MODEL", "CLIP or DINOv2: a folder or one of its files, a run, or org/name on the Hub"),
  },
  options: ACCURACY_OPTIONS,
  async run({ model }, options, context) {
    const { evalImages } = await import("../src/measure/images/accuracy-command.ts");
    await evalImages(model, options, context);
  },
});
