import type { JsonObject } from "../../files/lossless-json.ts";
import type { Targets } from "../base/target-modules.ts";

/**
 * The configuration of a new adapter: what every method says alike, and keys of its own, in the order of the alphabet, as
 * PEFT writes them.
 * @param base what it says of the model
 */
export function newConfig(base: string, { config }: Pick<Targets, "config">, own: JsonObject): JsonObject {
  const all: JsonObject = {
    base_model_name_or_path: base,
    fan_in_fan_out: false,
    inference_mode: true,
    layers_pattern: null,
    modules_to_save: null,
    task_type: "CAUSAL_LM",
    ...config,
    ...own,
  };
  return Object.fromEntries(Object.entries(all).toSorted(([left], [right]) => (left < right ? -1 : 1)));
}
