import type { JsonObject } from "../../files/lossless-json.ts";
import type { ConversionWish, ConvertedContent } from "../method.ts";
import { convertBases, notAsRecorded } from "../frozen/saved-bases.ts";
import type { Adapter } from "../adapter.ts";
import { type VeraConfig, veraConfig } from "./config.ts";
import { type FactorsRecord, formatRecord, recordOf, specOf } from "./record.ts";
import { findSaved, isFactorTensor, type SavedFactors } from "./saved.ts";
import { drawFactorTensors, identifyFactors, recordDraws } from "./tensors.ts";

/** Decides how the factors are written: see {@link convertBases}. */
export async function convertVera(adapter: Adapter, wish: ConversionWish): Promise<ConvertedContent> {
  const config = veraConfig(adapter);
  const saved = findSaved(adapter, config.r);
  const { record, written } = await settleRecord(adapter, config, saved, wish.signal);
  return convertBases(adapter, wish, {
    record,
    written,
    saved,
    peftDraws: record !== undefined && canPeftDraw(record),
    inPeft: true,
    draw: () => record && drawFactorTensors(specOf(record, config), wish.signal),
    isBases: isFactorTensor,
    savingProjection,
    messages: {
      undrawn: "at which shape they were drawn",
      unknown: "does not say what drew its bases, and neither does the result: they are drawn as PEFT draws them",
    },
  });
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
