import { existsSync } from "node:fs";
import { imageFiles } from "../../data/images/datasets/files.ts";
import { readPreprocessing } from "../../data/images/preprocessing.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import type { Context } from "../../terminal/options/command.ts";
import { embeddingsJson, embeddingsText } from "./embed-report.ts";
import { embedImages, embedText } from "./embed.ts";
import { findLoadedImageModel } from "./model-options.ts";
import type { EmbeddingsJson, EmbedFlags } from "./options.ts";

/** Images that go through the model at once. */
const AT_ONCE = 16;

/** Shows the vectors of images, or of a text. @throws RandloraError `usage` for both or neither; as `findLoadedImageModel` */
export async function embed(
  model: string,
  images: readonly string[],
  { prompt, ...flags }: EmbedFlags,
  context: Context<EmbeddingsJson>,
): Promise<void> {
  if ((prompt === undefined) === (images.length === 0)) {
    const cause = prompt === undefined ? "neither images nor a text" : "images, and a text with -p";
    throw new Contradiction(["prompt"], cause, "name images, or give -p TEXT");
  }
  const missing = images.find((path) => !existsSync(path));
  if (missing !== undefined) {
    throw new RandloraError(
      "file",
      `${oneLine(missing)}: no such file`,
      "check the path; a text is given with -p TEXT",
    );
  }
  await using resources = new AsyncDisposableStack();
  const found = await findLoadedImageModel(model, flags, resources, context);
  const { folder } = found.location;
  if (prompt !== undefined) {
    const opened = await found.open({ withoutText: false });
    const embedding = await embedText(opened, prompt, () => loadTokenizer(folder));
    context.result(embeddingsJson([embedding], opened.model.quantized), () =>
      embeddingsText([embedding], [prompt], context),
    );
    return;
  }
  const preprocessing = await readPreprocessing(folder);
  const opened = await found.open({ preprocessing, withoutText: true });
  const options = { preprocessing, batchSize: AT_ONCE, signal: context.signal };
  const embeddings = await embedImages(opened, imageFiles(images), options);
  context.result(embeddingsJson(embeddings, opened.model.quantized), () => embeddingsText(embeddings, images, context));
}
