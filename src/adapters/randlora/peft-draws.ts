import type { FloatGrid } from "../../random/names.ts";
import type { BasesRecord } from "./record.ts";

/**
 * The grid that PEFT's bases end on, of the stored dtypes of the adapted weights: each adapted layer in turn casts the
 * shared pair to its weight's dtype, so a single 16-bit layer is enough. Undefined for a base that mixes F16 and BF16.
 */
export function gridOfWeights(dtypes: Iterable<string>): FloatGrid | undefined {
  const stored = new Set(dtypes);
  if (stored.has("BF16") && stored.has("F16")) return undefined;
  return stored.has("BF16") ? "bf16" : stored.has("F16") ? "f16" : "f32";
}

/** Has PEFT this generator and this pairing? It draws from the seed in its own way, whatever the metadata say. */
export function canPeftDraw({ generator, pairing }: Pick<BasesRecord, "generator" | "pairing">): boolean {
  return pairing === "peft" && generator !== "philox-v1" && generator !== "torch-mt19937-f32";
}

/**
 * Would PEFT draw these very bases beside a base whose adapted weights are stored in these dtypes? It rounds to the grid
 * of the checkpoint, not to that in which the base was held in training.
 */
export function drawsAlike(
  record: Pick<BasesRecord, "generator" | "pairing" | "dtype">,
  dtypes: Iterable<string>,
): boolean {
  return canPeftDraw(record) && record.dtype === gridOfWeights(dtypes);
}
