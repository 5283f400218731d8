import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { MergedCheckpoint } from "../../adapters/merge/merged-checkpoint.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { locateModel, type ModelLocation, readRun } from "../../models/folder/locate.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import { findKind } from "../../adapters/formats/open.ts";
import type { ImageConfig } from "../../models/vision/config.ts";
import type { EncoderConfig } from "../../models/vision/encoder.ts";
import { isOfImages, readImageConfig } from "../../models/vision/index.ts";
import type { Context } from "../../terminal/options/command.ts";

/**
 * Finds the base, and sees that everything fits it.
 * @param paths of variants, on this machine
 * @throws RandloraError as `planVariants`
 */
export async function openPlan(
  model: string,
  paths: readonly string[],
  generator: GeneratorName | undefined,
  context: Context,
): Promise<VariantsPlan> {
  // A run of an adapter stands for the model that it was made from.
  const { place } = await readRun(model);
  return await planVariants(await locateModel(await localPath(place, "model", context)), paths, generator);
}

/** What a fine-tuning made of a model: an adapter for it, or a whole model of the same shape. */
export type Variant =
  | {
      readonly kind: "adapter";
      readonly path: string;
      /** Tensors stored in blocks that its ΔW is added to. */
      readonly inBlocks: ReadonlySet<string>;
    }
  | { readonly kind: "model"; readonly location: ModelLocation };

/** Variants that have been found to fit their base, before a device is opened. */
export interface VariantsPlan {
  /** The base. */
  readonly location: ModelLocation;
  readonly variants: readonly Variant[];
  readonly generator: GeneratorName | undefined;
  /** Tensors that adapters change, by the checkpoint's names. */
  readonly changed: ReadonlySet<string>;
  /** Those of them that are stored in blocks, and that ΔW is added to. */
  readonly inBlocks: ReadonlySet<string>;
  /** An adapter sets a tied output matrix apart from the embedding. */
  readonly unties: boolean;
}

/**
 * Looks at variants of a model, of texts or of images: no weight is read.
 * @param paths on this machine: adapters, runs, models
 * @throws RandloraError `adapter` for one that cannot be applied; `model` for a model of another shape; `file`, `format`
 */
export async function planVariants(
  location: ModelLocation,
  paths: readonly string[],
  generator: GeneratorName | undefined,
): Promise<VariantsPlan> {
  const shape = await readShape(location);
  const variants: Variant[] = [];
  const changed = new Set<string>();
  const inBlocks = new Set<string>();
  let unties = false;
  for (const given of paths) {
    const { kind, path } = await findKind(given);
    if (kind === "adapter") {
      const choices = [{ path, scale: 1 }];
      await using merged = await MergedCheckpoint.open(location.weights ?? location.folder, choices, { generator });
      for (const { name } of merged.changes) changed.add(name);
      for (const name of merged.inBlocks) inBlocks.add(name);
      unties ||= merged.plan.untied;
      variants.push({ kind, path, inBlocks: merged.inBlocks });
      continue;
    }
    const model = await locateModel(path);
    if (!isSameShape(await readShape(model), shape)) {
      const cause = `its config.json describes another model than that of ${oneLine(location.folder)}`;
      throw new RandloraError("model", `${oneLine(given)}: ${cause}`, "name what was fine-tuned from MODEL");
    }
    variants.push({ kind: "model", location: model });
  }
  return { location, variants, generator, changed, inBlocks, unties };
}

/** Must every matrix be held in F32 where variants are mixed? A model changes all; an untied head is mixed with embeddings. */
export function needsAllInF32({ variants, unties }: VariantsPlan): boolean {
  return unties || variants.some(({ kind }) => kind === "model");
}

/** What a model's passes go by; what it is called, and how its tensors are, is left out. */
interface ModelShape {
  readonly main: object;
  /** A part that one fine-tuned model may lack, and another have: an encoder of texts beside one of images. */
  readonly texts: object | undefined;
}

/** @throws RandloraError `file`, `format`; `model` for what cannot be run */
async function readShape(location: ModelLocation): Promise<ModelShape> {
  const { folder } = location;
  if (await isOfImages(folder)) {
    return shapeOfImages(await readImageConfig(location));
  }
  const { head: _head, headWhereStored: _stored, ...config } = await loadConfig(folder);
  const { endTokens: _endTokens, contextLength: _contextLength, ...main } = config;
  return { main, texts: undefined };
}

/** Can two models stand for each other, as far as both go? */
function isSameShape(one: ModelShape, other: ModelShape): boolean {
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
