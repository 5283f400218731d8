import { existsSync } from "node:fs";
import { imageFiles } from "../../data/images/datasets/files.ts";
import type { ImageSet } from "../../data/images/datasets/types.ts";
import { readPreprocessing } from "../../data/images/preprocessing.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { visible } from "../../files/visible.ts";
import { formatNumber } from "../../terminal/format.ts";
import type { Context } from "../../terminal/options/command.ts";
import { quantizedJson } from "../../terminal/quantized.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";
import { type BatchOptions, imageBatches } from "./batches.ts";
import { findLoadedImageModel } from "./model-options.ts";
import type { LoadedImageModel } from "./model.ts";
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

/** Numbers of a vector that people are shown. */
const SHOWN = 4;

function embeddingsJson(
  embeddings: readonly Float32Array[],
  quantized: Parameters<typeof quantizedJson>[0],
): EmbeddingsJson {
  return { embeddings: embeddings.map((embedding) => [...embedding]), ...quantizedJson(quantized) };
}

/** A row for each vector: what it is of, its length, and how it begins. @param names what each is of */
function embeddingsText(
  embeddings: readonly Float32Array[],
  names: readonly string[],
  { columns, style }: { columns: number; style: Style },
): string {
  const rows = embeddings.map((embedding, at) => [
    visible(names[at] ?? ""),
    Math.hypot(...embedding).toFixed(4),
    `${Array.from(embedding.subarray(0, SHOWN), (value) => value.toFixed(4)).join(" ")} …`,
  ]);
  const head = ["of", "length", "begins with"];
  const table = formatTable(rows, { head, align: "lrl", columns, markHead: style.dim });
  return `${table}vectors of ${formatNumber(embeddings[0]?.length ?? 0)} numbers; --json shows all of them\n`;
}

/**
 * What stands for each image, as the model gives it, of any length: CLIP's `get_image_features`, else the normed class
 * token.
 * @throws RandloraError as `imageBatches`; `memory`, `gpu`
 */
async function embedImages(opened: LoadedImageModel, set: ImageSet, options: BatchOptions): Promise<Float32Array[]> {
  const embeddings: Float32Array[] = [];
  for await (const { images } of imageBatches(set, options)) {
    embeddings.push(...(await opened.rows((run) => opened.model.recordImages(run, images))));
  }
  return embeddings;
}

/**
 * What stands for a text: CLIP's `get_text_features`.
 * @param loadTokenizer the model's
 * @throws RandloraError `usage` for a model without an encoder of texts; `model` for a text that is too long; as `loadTokenizer`
 */
async function embedText(
  opened: LoadedImageModel,
  text: string,
  loadTokenizer: () => Promise<Tokenizer>,
): Promise<Float32Array> {
  const { model } = opened;
  if (model.text === undefined || model.joint === undefined) {
    throw new RandloraError("usage", "-p: this model has no encoder of texts", "name images, or a whole CLIP model");
  }
  const ids = (await loadTokenizer()).encode(text);
  const [embedding] = await opened.rows((run) => model.recordTexts(run, [ids]));
  if (embedding === undefined) throw new RangeError("a pass without a result");
  return embedding;
}
