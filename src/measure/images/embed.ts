import { RandloraError } from "../../files/errors.ts";
import type { PictureSet } from "../../data/images/datasets/types.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import { type BatchOptions, pictureBatches } from "./batches.ts";
import type { PictureModel } from "./model.ts";

/**
 * What stands for each picture, as the model gives it, of any length: CLIP's `get_image_features`, else the normed class
 * token.
 * @throws RandloraError as `pictureBatches`; `memory`, `gpu`
 */
export async function embedPictures(
  opened: PictureModel,
  set: PictureSet,
  options: BatchOptions,
): Promise<Float32Array[]> {
  const embeddings: Float32Array[] = [];
  for await (const { pictures } of pictureBatches(set, options)) {
    embeddings.push(...(await opened.rows((run) => opened.model.recordPictures(run, pictures))));
  }
  return embeddings;
}

/**
 * What stands for a text: CLIP's `get_text_features`.
 * @param loadTokenizer the model's
 * @throws RandloraError `usage` for a model without an encoder of texts; `model` for a text that is too long; as `loadTokenizer`
 */
export async function embedText(
  opened: PictureModel,
  text: string,
  loadTokenizer: () => Promise<Tokenizer>,
): Promise<Float32Array> {
  const { model } = opened;
  if (model.text === undefined || model.joint === undefined) {
    throw new RandloraError("usage", "-p: this model has no encoder of texts", "name pictures, or a whole CLIP model");
  }
  const ids = (await loadTokenizer()).encode(text);
  const [embedding] = await opened.rows((run) => model.recordTexts(run, [ids]));
  if (embedding === undefined) throw new RangeError("a pass without a result");
  return embedding;
}
