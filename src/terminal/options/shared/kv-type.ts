import { KV_NAMES, type KvName } from "../../../compute/device/dtype.ts";
import { choice } from "../command.ts";

/**
 * `--kv-type`, where texts are written or measured. Texts are those of f32 up to the first token whose logit nearly ties with
 * another's, which with q8_0 comes sooner.
 */
export function kvTypeOption(byDefault: KvName) {
  const help = "number format of the KV cache; f16 takes half the memory of f32, q8_0 about a quarter";
  return choice(KV_NAMES, { topic: "Model", help, default: byDefault });
}
