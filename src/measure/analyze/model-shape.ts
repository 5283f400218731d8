import { loadConfig } from "../../models/decoder/architectures/index.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import type { ImageConfig } from "../../models/vision/config.ts";
import type { EncoderConfig } from "../../models/vision/encoder.ts";
import { isOfImages, readImageConfig } from "../../models/vision/index.ts";

/** What a model's passes go by; what it is called, and how its tensors are, is left out. */
export interface ModelShape {
  readonly main: object;
  /** A part that one fine-tuned model may lack, and another have: an encoder of texts beside one of images. */
  readonly texts: object | undefined;
}

/** @throws RandloraError `file`, `format`; `model` for what cannot be run */
export async function readShape(location: ModelLocation): Promise<ModelShape> {
  const { folder } = location;
  if (await isOfImages(folder)) {
    return shapeOfImages(await readImageConfig(location));
  }
  const { head: _head, headWhereStored: _stored, ...config } = await loadConfig(folder);
  const { endTokens: _endTokens, contextLength: _contextLength, ...main } = config;
  return { main, texts: undefined };
}

/** Can two models stand for each other, as far as both go? */
export function isSameShape(one: ModelShape, other: ModelShape): boolean {
  const { texts } = one;
  const areTextsSame = texts === undefined || other.texts === undefined || Bun.deepEquals(texts, other.texts);
  return areTextsSame && Bun.deepEquals(one.main, other.main);
}

function shapeOfImages({ architecture, vision, text, projections }: ImageConfig): ModelShape {
  const { image, patch, features } = vision;
  const main = { architecture, encoder: sizesOf(vision.encoder), image, patch, features };
  if (text === undefined) return { main, texts: undefined };
  const { encoder, prefix: _prefix, ...sizes } = text;
  return { main, texts: { ...sizes, encoder: sizesOf(encoder), joint: projections?.vision[1] } };
}

function sizesOf({ names, ...sizes }: EncoderConfig): object {
  return { ...sizes, gated: names.gated, scales: names.scales !== undefined };
}
