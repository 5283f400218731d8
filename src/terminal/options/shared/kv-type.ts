import { KV_NAMES, type KvName } from "../../../compute/device/dtype.ts";
import { choice } from "../command.ts";

/** `--kv-type`, where texts are written or measured. */
export function kvTypeOption(byDefault: KvName) {
  const help = "number format of the KV cache; f16 takes half the memory of f32, q8_0 about a quarter";
  return choice(KV_NAMES, { topic: "Model", help, default: byDefault });
}
