import type { FloatGrid } from "../random/names.ts";

/**
 * The grid that PEFT's bases end on, of the stored dtypes of the adapted weights: each adapted layer in turn casts the
 * shared pair to its weight's dtype, so a single 16-bit layer is enough. Undefined for a base that mixes F16 and BF16.
 */
export function gridOfWeights(dtypes: Iterable<string>): FloatGrid | undefined {
  const stored = new Set(dtypes);
  if (stored.has("BF16") && stored.has("F16")) return undefined;
  return stored.has("BF16") ? "bf16" : stored.has("F16") ? "f16" : "f32";
}
