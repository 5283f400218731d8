import * as v from "valibot";
import { ARCHITECTURES } from "../../decoder/architectures/index.ts";
import { ConfigJson } from "../../decoder/config-file.ts";
import type { DecoderConfig } from "../../decoder/config.ts";

/** A small model of this `model_type`. @param settings of config.json */
export function configOf(model_type: string, settings: object = {}): DecoderConfig {
  const json = v.parse(ConfigJson, {
    model_type,
    vocab_size: 100,
    hidden_size: 64,
    intermediate_size: 96,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    max_position_embeddings: 256,
    ...settings,
  });
  const architecture = ARCHITECTURES.find(({ type }) => type === model_type);
  if (architecture === undefined) throw new RangeError(model_type);
  return architecture.describe(json);
}
