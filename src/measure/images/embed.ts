import { RandloraError } from "../../files/errors.ts";
import type { ImageSet } from "../../data/images/datasets/types.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import { type BatchOptions, imageBatches } from "./batches.ts";
import type { LoadedImageModel } from "./model.ts";

/**
 * What stands for each image, as the model gives it, of any length: CLIP's `get_image_features`, else the normed class
 * token.
 * @throws RandloraError as `imageBatches`; `memory`, `gpu`
 */
export async function embedImages(
  opened: LoadedImageModel,
  set: ImageSet,
  options: BatchOptions,
): Promise<Float32Array[]> {
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
export async function embedText(
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
