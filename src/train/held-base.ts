import { type BlocksName, NAMED_BLOCKS } from "../device/dtype.ts";
import type { Quantised, WeightOptions } from "../models/placed-weights.ts";
import { NAMED_DTYPES } from "../safetensors/dtype.ts";
import type { TrainSettings } from "./settings.ts";

/** How the settings hold a frozen base. */
export function heldAs({ dtype, quantize }: TrainSettings): Pick<WeightOptions, "dtype" | "quantize"> {
  return {
    dtype: dtype === "keep" ? undefined : NAMED_DTYPES[dtype],
    quantize: quantize === null ? undefined : NAMED_BLOCKS[quantize],
  };
}

/** For the user, where blocks were asked for and no layer could be held in them. */
export function notesOfBlocks(asked: BlocksName | null | undefined, quantised: Quantised | undefined): string[] {
  if ((asked ?? null) === null || quantised !== undefined) return [];
  return [`--quantize ${asked}: no layer's rows are whole blocks of 32 numbers: all stays as stored`];
}
