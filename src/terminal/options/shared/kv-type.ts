import { KV_NAMES } from "../../../compute/device/dtype.ts";
import { choice } from "../command.ts";

/** `--kv-type`, where texts are written or measured. */
export const KV_TYPE_OPTION = choice(KV_NAMES, {
  topic: "Model",
  help: "number format of the KV cache; f16 takes half the memory, q8_0 about a quarter",
  default: "f32",
});
