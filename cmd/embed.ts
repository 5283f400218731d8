import { Contradiction } from "../src/files/errors.ts";
import { defineCommand, required, several, text } from "../src/terminal/options/command.ts";
import { MODEL_OPTIONS, findLoadedImageModel } from "../src/measure/images/model-options.ts";

/** Images that go through the model at once. */
const AT_ONCE = 16;

/** `randlora embed`. */
export const command = defineCommand({
  name: "embed",
  otherNames: ["embeddings", "features"],
  summary: "Show the vectors that stand for images, or for a text",
  example: "randlora embed openai/clip-vit-base-patch32 cat.jpg dog.jpg --json",
  arguments: {
    model: required("MODEL", "a CLIP or DINOv2 model: a folder, one of its files, a run, or org/name on the Hub"),
    images: several("IMAGE", "JPEG, PNG, WebP, GIF or PPM"),
  },
  options: {
    prompt: text({ short: "p", topic: "Text", help: "text to embed instead of images, with a text encoder" }),
    ...MODEL_OPTIONS,
  },
  async run({ model, images }, { prompt, ...flags }, context) {
    if ((prompt === undefined) === (images.length === 0)) {
      const cause = prompt === undefined ? "neither images nor a text" : "images, and a text with -p";
      throw new Contradiction(["prompt"], cause, "name images, or give -p TEXT");
    }
    await using resources = new AsyncDisposableStack();
    const found = await findLoadedImageModel(model, flags, resources, context);
    const { embeddingsJson, embeddingsText } = await import("../src/measure/images/embed-report.ts");
    const { quantizedJson } = await import("../src/terminal/quantized.ts");
    const { embedImages, embedText } = await import("../src/measure/images/embed.ts");
    const { folder } = found.location;
    if (prompt !== undefined) {
      const { loadTokenizer } = await import("../src/data/text/load-tokenizer.ts");
      const opened = await found.open({ withoutText: false });
      const embedding = await embedText(opened, prompt, () => loadTokenizer(folder));
      context.result({ ...embeddingsJson([embedding]), ...quantizedJson(opened.model.quantized) }, () =>
        embeddingsText([embedding], [prompt], context),
      );
      return;
    }
    const { imageFiles } = await import("../src/data/images/datasets/files.ts");
    const { readPreprocessing } = await import("../src/data/images/preprocessing.ts");
    const preprocessing = await readPreprocessing(folder);
    const opened = await found.open({ preprocessing, withoutText: true });
    const options = { preprocessing, batchSize: AT_ONCE, signal: context.signal };
    const embeddings = await embedImages(opened, imageFiles(images), options);
    context.result({ ...embeddingsJson(embeddings), ...quantizedJson(opened.model.quantized) }, () =>
      embeddingsText(embeddings, images, context),
    );
  },
});
