import { RandloraError } from "../../errors.ts";
import { oneLine } from "../../files/failure.ts";
import { contentOf } from "../content.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import type { ConversionWish, ConvertedContent } from "../method.ts";
import type { Adapter, AdapterTensor } from "../types.ts";
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
  if (!projections) checkRedrawable(adapter, wish, record, saved);
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
      tensors: withPair(tensors, pair),
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
  const cause = `${oneLine(adapter.file)}: the bases that it holds are not those that it records (${record.generator})`;
  throw new RandloraError("adapter", cause, "the file was changed after it was written: use the original");
}

function checkRedrawable(
  adapter: Adapter,
  { to }: ConversionWish,
  record: BasesRecord | undefined,
  saved: SavedPair | undefined,
): void {
  if (record === undefined && saved !== undefined) {
    const cause = `${oneLine(adapter.path)}: no known generator draws its bases, so leaving them out would lose them`;
    throw new RandloraError("adapter", cause, "leave --projections no out");
  }
  if (to === "peft" && record !== undefined && !canPeftDraw(record)) {
    const cause = `${oneLine(adapter.path)}: PEFT cannot draw its bases (${record.generator})`;
    throw new RandloraError("adapter", cause, "leave --projections no out");
  }
}

async function drawn(
  config: RandloraConfig,
  record: BasesRecord | undefined,
  { cache, signal }: ConversionWish,
): Promise<SavedPair | undefined> {
  return record === undefined ? undefined : drawPairTensors(specOf(record, config), cache, signal);
}

/** The tensors with this pair of bases in place of what was there, first as PEFT has it; or without any. */
function withPair(tensors: readonly AdapterTensor[], pair: SavedPair | undefined): AdapterTensor[] {
  const others = tensors.filter(({ name }) => !isBasesTensor(name));
  return pair === undefined ? others : [pair.a, pair.b, ...others];
}

/** PEFT redraws the bases, instead of missing them, where its configuration says that they are not in the file. */
export function savingProjection(config: JsonObject, saved: boolean): JsonObject {
  return config["peft_type"] === PEFT_TYPES.peft ? { ...config, save_projection: saved } : config;
}
