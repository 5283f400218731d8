import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import type { FloatGrid } from "../../compute/random/names.ts";
import type { Adapter } from "../files/adapter.ts";

/**
 * The grid that PEFT's bases end on, of the stored dtypes of the adapted weights: each adapted layer in turn casts the
 * shared pair to its weight's dtype, so a single 16-bit layer is enough. Undefined for a base that mixes F16 and BF16.
 */
export function gridOfWeights(dtypes: Iterable<string>): FloatGrid | undefined {
  const stored = new Set(dtypes);
  if (stored.has("BF16") && stored.has("F16")) return undefined;
  return stored.has("BF16") ? "bf16" : stored.has("F16") ? "f16" : "f32";
}

/** The same for an adapter that exists. @throws RandloraError `adapter` for a base that mixes them */
export function gridOfLayers(layers: readonly { readonly dtype: string }[], { path }: Adapter): FloatGrid {
  const grid = gridOfWeights(layers.map(({ dtype }) => dtype));
  if (grid !== undefined) return grid;
  const cause = "the base mixes F16 and BF16 weights, and the adapter does not record the dtype of its bases";
  throw new RandloraError("adapter", `${oneLine(path)}: ${cause}`, "save the adapter with its projections");
}

/**
 * The same for a new adapter, beside a base that is held as `dtype`. One that mixes F16 and BF16 has no such grid, and its
 * bases are saved, whatever they were rounded to.
 */
export function gridOfHeld(dtype: FloatGrid | "keep", stored: Iterable<string>): FloatGrid {
  return dtype === "keep" ? (gridOfWeights(stored) ?? "bf16") : dtype;
}
