import * as v from "valibot";
import { join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { SUPPORTED_TYPES } from "../decoder/architectures/index.ts";
import { readConfigOf } from "../decoder/config-file.ts";
import { ClipJson, describeClip, describeDinov2, Dinov2Json } from "./clip.ts";
import type { ImageConfig, Tensors } from "./config.ts";
import { openCheckpoint } from "../folder/open-checkpoint.ts";
import type { ModelLocation } from "../folder/locate.ts";

/** `model_type`s of models of images that can be run. */
export const IMAGE_TYPES: readonly string[] = ["clip", "dinov2"];

/**
 * Finds out, from config.json alone, whether a folder is that of a model of images.
 * @throws RandloraError `file`, `format`; `model` for another one
 */
export async function checkIsOfImages(folder: string): Promise<void> {
  const isLanguage = await isOfImages(folder).then(
    (is) => !is,
    () => false,
  );
  if (!isLanguage) return void (await readConfigOf(folder, IMAGE_TYPES, v.looseObject({})));
  const cause = `${oneLine(join(folder, "config.json"))}: a language model, where CLIP or DINOv2 is needed`;
  const hint =
    "randlora chat talks to it, eval perplexity measures it, serve answers /v1/embeddings with its embeddings of texts";
  throw new RandloraError("model", cause, hint);
}

/**
 * Refuses the folder of an image model where a language model is needed; every other one is left to who loads it.
 * @throws RandloraError `model`
 */
export async function checkIsOfTexts(folder: string): Promise<void> {
  if (!(await isOfImages(folder).catch(() => false))) return;
  const cause = `${oneLine(join(folder, "config.json"))}: an image model, where a language model is needed`;
  throw new RandloraError(
    "model",
    cause,
    "classify images with it (randlora classify), or compare them (randlora embed)",
  );
}

/**
 * Is this the folder of a model of images, by its config.json, or of one of texts?
 * @throws RandloraError `file`, `format`; `model` for neither
 */
export async function isOfImages(folder: string): Promise<boolean> {
  const kind = v.looseObject({ model_type: v.string() });
  const { model_type } = await readConfigOf(folder, [...SUPPORTED_TYPES, ...IMAGE_TYPES], kind);
  return IMAGE_TYPES.includes(model_type);
}

/**
 * What a folder's config.json and its checkpoint say of a model of images.
 * @throws RandloraError `file`, `format`, or `model` for what cannot be run
 */
export async function loadImageConfig(folder: string, tensors: Tensors): Promise<ImageConfig> {
  const json = await readConfigOf(folder, IMAGE_TYPES, v.variant("model_type", [ClipJson, Dinov2Json]));
  try {
    return json.model_type === "clip" ? describeClip(json, tensors) : describeDinov2(json, tensors);
  } catch (cause) {
    if (!(cause instanceof RandloraError)) throw cause;
    const path = oneLine(join(folder, "config.json"));
    throw new RandloraError(cause.code, `${path}: ${cause.message}`, cause.hint, { cause });
  }
}

/** What a model of images is, by its config.json and the headers of its weights. @throws RandloraError as `loadImageConfig` */
export async function readImageConfig({ folder, weights }: ModelLocation): Promise<ImageConfig> {
  await using checkpoint = await openCheckpoint(weights ?? folder);
  return await loadImageConfig(folder, checkpoint.tensors);
}
