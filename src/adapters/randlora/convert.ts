import { RandloraError } from "../../errors.ts";
import { oneLine } from "../../files/failure.ts";
import { contentOf } from "../content.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import type { ConversionWish, ConvertedContent } from "../method.ts";
import { notAsRecorded, requireRedrawable, withBases } from "../saved-bases.ts";
import type { Adapter } from "../types.ts";
import { type RandloraConfig, randloraConfig } from "./config.ts";
import { identifyBases, recordDraws, specOf } from "./identify.ts";
import { PEFT_TYPES } from "./peft-types.ts";
import { canPeftDraw } from "./peft-draws.ts";
import { drawPairTensors } from "./projection-tensors.ts";
import { type BasesRecord, formatBasesRecord, parseBasesRecord } from "./record.ts";
import { findSaved, isBasesTensor, type SavedPair } from "./saved.ts";

/**
 * Decides how the bases are written. A PEFT folder gets the pair by default, drawn if need be; an adapter.json gets it
 * only when no generator can redraw it. Everything else stays as it is. Throws `RandloraError` "adapter" when leaving
 * the bases out would lose them, or when they are wanted and nothing says how to draw them.
 * @param inPeft whether PEFT has such adapters at all
 */
export async function convertRandlora(
  adapter: Adapter,
  wish: ConversionWish,
  inPeft = adapter.config["peft_type"] === PEFT_TYPES.peft,
): Promise<ConvertedContent> {
  const config = randloraConfig(adapter);
  const saved = findSaved(adapter, config.r);
  const { record, written } = await settleRecord(adapter, config, saved, wish);
  const projections = wish.projections ?? (wish.to === "peft" || record === undefined);
  if (!projections) {
    const peftDraws = record !== undefined && canPeftDraw(record);
    requireRedrawable(adapter, wish, { generator: record?.generator, saved: saved !== undefined, peftDraws });
  }
  const pair = projections ? (saved ?? (await drawn(config, record, wish))) : undefined;
  if (wish.projections === true && pair === undefined) {
    const cause = `${oneLine(adapter.path)}: it neither holds its bases nor records which generator drew them`;
    throw new RandloraError(
      "adapter",
      cause,
      "leave --projections out: the result is then as complete as the original",
    );
  }
  const notes: string[] = [];
  if (record === undefined && saved === undefined) {
    notes.push(`${oneLine(adapter.path)} does not say what drew its bases, and neither does the result`);
  }
  if (wish.to === "peft" && !projections && record !== undefined && inPeft) {
    const only = `PEFT draws the same bases only for a base that is stored in ${record.dtype}`;
    notes.push(`${oneLine(adapter.path)}: ${only}: for another, leave --projections no out`);
  }
  const { tensors, config: keys, ...rest } = contentOf(adapter);
  return {
    content: {
      ...rest,
      config: wish.to === "peft" ? savingProjection(keys, pair !== undefined) : keys,
      bases: written,
      tensors: withBases(tensors, pair, isBasesTensor),
    },
    generator: record?.generator,
    projections: pair !== undefined,
    notes,
  };
}

/** What draws the bases, and how that is written: as it was, or as it was found out. */
async function settleRecord(
  adapter: Adapter,
  config: RandloraConfig,
  saved: SavedPair | undefined,
  { cache, signal }: ConversionWish,
): Promise<{ record: BasesRecord | undefined; written: JsonObject | undefined }> {
  if (adapter.bases === undefined) {
    const record = saved === undefined ? undefined : await identifyBases(saved, config, cache, signal);
    return { record, written: record === undefined ? undefined : formatBasesRecord(record) };
  }
  const record = parseBasesRecord(adapter.bases, adapter.file);
  if (saved === undefined || (await recordDraws(record, saved, config, cache, signal)))
    return { record, written: adapter.bases };
  throw notAsRecorded(adapter, record.generator);
}

async function drawn(
  config: RandloraConfig,
  record: BasesRecord | undefined,
  { cache, signal }: ConversionWish,
): Promise<SavedPair | undefined> {
  return record === undefined ? undefined : drawPairTensors(specOf(record, config), cache, signal);
}

/** PEFT redraws the bases, instead of missing them, where its configuration says that they are not in the file. */
export function savingProjection(config: JsonObject, saved: boolean): JsonObject {
  return config["peft_type"] === PEFT_TYPES.peft ? { ...config, save_projection: saved } : config;
}
