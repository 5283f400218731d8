import { defineCommand, required, several } from "../src/terminal/options/command.ts";
import { EMBED_OPTIONS } from "../src/measure/images/options.ts";

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
  options: EMBED_OPTIONS,
  async run({ model, images }, options, context) {
    const { embed } = await import("../src/measure/images/embed-command.ts");
    await embed(model, images, options, context);
  },
});
