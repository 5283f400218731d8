import { RandloraError } from "../../errors.ts";
import { oneLine } from "../../files/failure.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { contentOf } from "../content.ts";
import type { ConversionWish, ConvertedContent } from "../method.ts";
import { notAsRecorded, requireRedrawable, withBases } from "../saved-bases.ts";
import type { Adapter } from "../types.ts";
import { type VeraConfig, veraConfig } from "./config.ts";
import { type FactorsRecord, formatRecord, recordOf, specOf } from "./record.ts";
import { findSaved, isFactorTensor, type SavedFactors } from "./saved.ts";
import { drawFactorTensors, identifyFactors, recordDraws } from "./tensors.ts";

/**
 * Decides how the factors are written. A PEFT folder gets them by default, drawn if need be; an adapter.json gets them
 * only when no generator can redraw them. Everything else stays as it is. Throws `RandloraError` "adapter" when leaving
 * them out would lose them, or when they are wanted and nothing says at which shape to draw them.
 */
export async function convertVera(adapter: Adapter, wish: ConversionWish): Promise<ConvertedContent> {
  const config = veraConfig(adapter);
  const saved = findSaved(adapter, config.r);
  const { record, written } = await settleRecord(adapter, config, saved, wish.signal);
  const projections = wish.projections ?? (wish.to === "peft" || record === undefined);
  if (!projections) {
    const peftDraws = record !== undefined && canPeftDraw(record);
    requireRedrawable(adapter, wish, { generator: record?.generator, saved: saved !== undefined, peftDraws });
  }
  const drawn = () => record && drawFactorTensors(specOf(record, config), wish.signal);
  const pair = projections ? (saved ?? (await drawn())) : undefined;
  if (wish.projections === true && pair === undefined) {
    const cause = `${oneLine(adapter.path)}: it neither holds its bases nor records at which shape they were drawn`;
    const hint = "leave --projections out: the result is then as complete as the original";
    throw new RandloraError("adapter", cause, hint);
  }
  const notes: string[] = [];
  if (record === undefined && saved === undefined) {
    const cause = "does not say what drew its bases, and neither does the result: they are drawn as PEFT draws them";
    notes.push(`${oneLine(adapter.path)} ${cause}`);
  }
  if (wish.to === "peft" && !projections && record !== undefined) {
    const only = `PEFT draws the same bases only for a base that is stored in ${record.dtype}`;
    notes.push(`${oneLine(adapter.path)}: ${only}: for another, leave --projections no out`);
  }
  const { tensors, config: keys, ...rest } = contentOf(adapter);
  return {
    content: {
      ...rest,
      config: wish.to === "peft" ? savingProjection(keys, pair !== undefined) : keys,
      bases: written,
      tensors: withBases(tensors, pair, isFactorTensor),
    },
    generator: record?.generator,
    projections: pair !== undefined,
    notes,
  };
}

/** What draws the factors, and how that is written: as it was, or as it was found out. */
async function settleRecord(
  adapter: Adapter,
  config: VeraConfig,
  saved: SavedFactors | undefined,
  signal: AbortSignal | undefined,
): Promise<{ record: FactorsRecord | undefined; written: JsonObject | undefined }> {
  const record = recordOf(adapter);
  if (record === undefined) {
    const found = saved === undefined ? undefined : await identifyFactors(saved, config, signal);
    return { record: found, written: found && formatRecord(found) };
  }
  if (saved === undefined || (await recordDraws(record, saved, config, signal))) {
    return { record, written: adapter.bases };
  }
  throw notAsRecorded(adapter, record.generator);
}

/** Has PEFT this generator? It draws from the seed in its own way, whatever the metadata say. */
export function canPeftDraw({ generator }: Pick<FactorsRecord, "generator">): boolean {
  return generator === "torch-mt19937-f32";
}

/** PEFT redraws the factors, instead of missing them, where its configuration says that they are not in the file. */
export function savingProjection(config: JsonObject, saved: boolean): JsonObject {
  return { ...config, save_projection: saved };
}
