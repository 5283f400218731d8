import { NAMED_BLOCKS } from "../../compute/device/dtype.ts";
import type { WeightOptions } from "../../models/weight-format.ts";
import { NAMED_DTYPES } from "../../files/safetensors/dtype.ts";
import type { TrainSettings } from "../settings/settings.ts";

/** How the settings hold a frozen base. */
export function heldAs({ dtype, quantize }: TrainSettings): Pick<WeightOptions, "dtype" | "quantize"> {
  return {
    dtype: dtype === "keep" ? undefined : NAMED_DTYPES[dtype],
    quantize: quantize === null ? undefined : NAMED_BLOCKS[quantize],
  };
}
