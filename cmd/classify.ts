import { defineCommand, integer, list, required, text, variadic } from "../src/terminal/options/command.ts";
import { MODEL_OPTIONS } from "../src/measure/images/options.ts";

/** `randlora classify`. */
export const command = defineCommand({
  name: "classify",
  otherNames: ["predict"],
  summary: "Classify images by a trained head, or by any labels with CLIP",
  example: 'randlora classify openai/clip-vit-base-patch32 --labels "cat,dog,an owl" cat.jpg',
  arguments: {
    model: required("MODEL", "CLIP or DINOv2: a folder or one of its files, a run, or org/name on the Hub"),
    images: variadic("IMAGE", "JPEG, PNG, WebP, GIF or PPM"),
  },
  options: {
    labels: list(
      text({
        value: "A,B,…",
        topic: "Classes",
        help: "class names for zero-shot classification (CLIP)",
        defaultText: "those of the trained head",
      }),
    ),
    labelsFile: text({ value: "FILE", topic: "Classes", help: "file of class names, one a line" }),
    top: integer({
      value: "K",
      topic: "Classes",
      help: "number of classes to show, the most likely first",
      min: 1,
      default: 5,
    }),
    ...MODEL_OPTIONS,
  },
  async run({ model, images }, options, context) {
    const { classify } = await import("../src/measure/images/classify-command.ts");
    await classify(model, images, options, context);
  },
});
