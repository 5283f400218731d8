import type { JsonObject } from "../../files/lossless-json.ts";
import type { ConversionWish, ConvertedContent } from "../method.ts";
import { convertBases, notAsRecorded } from "../frozen/saved-bases.ts";
import type { Adapter } from "../adapter.ts";
import { type RandloraConfig, randloraConfig } from "./config.ts";
import { identifyBases, recordDraws, specOf } from "./identify.ts";
import { PEFT_TYPES } from "./peft-types.ts";
import { canPeftDraw } from "./peft-draws.ts";
import { drawPairTensors } from "./projection-tensors.ts";
import { type BasesRecord, formatBasesRecord, parseBasesRecord } from "./record.ts";
import { findSaved, isBasesTensor, type SavedPair } from "./saved.ts";

/**
 * Decides how the bases are written: see {@link convertBases}.
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
  return convertBases(adapter, wish, {
    record,
    written,
    saved,
    peftDraws: record !== undefined && canPeftDraw(record),
    inPeft,
    draw: () => record && drawPairTensors(specOf(record, config), wish.cache, wish.signal),
    isBases: isBasesTensor,
    savingProjection,
    messages: {
      undrawn: "which generator drew them",
      unknown: "does not say what drew its bases, and neither does the result",
    },
  });
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

/** PEFT redraws the bases, instead of missing them, where its configuration says that they are not in the file. */
export function savingProjection(config: JsonObject, saved: boolean): JsonObject {
  return config["peft_type"] === PEFT_TYPES.peft ? { ...config, save_projection: saved } : config;
}
