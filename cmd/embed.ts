import { defineCommand, required, several, text } from "../src/terminal/options/command.ts";
import { MODEL_OPTIONS } from "../src/measure/images/model-options.ts";

/** `randlora embed`. */
export const command = defineCommand({
  name: "embed",
  otherNames: ["embeddings", "features"],
  summary: "Show the embeddings of images or of a text",
  example: "randlora embed openai/clip-vit-base-patch32 cat.jpg dog.jpg --json",
  arguments: {
    model: required("MODEL", "CLIP or DINOv2: a folder or one of its files, a run, or org/name on the Hub"),
    images: several("IMAGE", "JPEG, PNG, WebP, GIF or PPM"),
  },
  options: {
    prompt: text({ short: "p", topic: "Text", help: "text to embed instead of images, with a text encoder" }),
    ...MODEL_OPTIONS,
  },
  async run({ model, images }, options, context) {
    const { embed } = await import("../src/measure/images/embed-command.ts");
    await embed(model, images, options, context);
  },
});
