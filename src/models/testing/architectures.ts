// A small model of any architecture, for tests that hold for all of them.
import { loadConfig, SUPPORTED_TYPES } from "../decoder/architectures/index.ts";
import type { DecoderConfig } from "../decoder/config.ts";
import { plannedMatrices } from "../decoder/weight-plan.ts";
import { writeModel } from "./models.ts";

const SIZES = {
  vocab_size: 20,
  hidden_size: 32,
  intermediate_size: 64,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  num_local_experts: 8,
  num_experts_per_tok: 2,
  moe_intermediate_size: 32,
};

const GEMMA4 = { hidden_size_per_layer_input: 0, global_head_dim: 16 };

const DELTA_RULE = {
  full_attention_interval: 2,
  linear_num_key_heads: 2,
  linear_num_value_heads: 4,
  linear_key_head_dim: 8,
  linear_value_head_dim: 8,
};

/** Every `model_type`, and after a dash what some models of one have and others have not. */
export const ARCHITECTURE_CASES: readonly string[] = [...SUPPORTED_TYPES, "gemma4_text-experts"];

/** What a case needs beside them. */
const OWN: Readonly<Record<string, object>> = {
  gemma4_text: GEMMA4,
  "gemma4_text-experts": { ...GEMMA4, enable_moe_block: true, num_experts: 8, top_k_experts: 2 },
  gemma4: { hidden_size_per_layer_input: 64, vocab_size_per_layer_input: 512, global_head_dim: 16 },
  gpt2: { n_inner: 64, n_positions: 32 },
  granitemoehybrid: { num_local_experts: 0, shared_intermediate_size: 64, layers_block_type: ["attention"] },
  qwen3_5_text: DELTA_RULE,
  qwen3_5: DELTA_RULE,
  qwen3_5_moe_text: { ...DELTA_RULE, num_experts: 8, shared_expert_intermediate_size: 64 },
  qwen3_5_moe: { ...DELTA_RULE, num_experts: 8, shared_expert_intermediate_size: 64 },
  qwen3_vl_moe: { num_experts: 8 },
  glm4_moe: { n_routed_experts: 8, head_dim: 8 },
  qwen3_next: { ...DELTA_RULE, num_experts: 8, shared_expert_intermediate_size: 64 },
};

/**
 * Writes a model of such a case, whose rows are whole blocks of 32; the weights are made up.
 * @param settings of config.json, beside its sizes
 * @param fused the same weights by the names that `otherwise` has for them
 */
export async function writeArchitecture(
  folder: string,
  name: string,
  layers: number,
  settings: object = {},
  fused = false,
): Promise<DecoderConfig> {
  const json = { model_type: name.split("-")[0], ...SIZES, ...OWN[name], num_hidden_layers: layers, ...settings };
  await writeModel(folder, json, {});
  const config = await loadConfig(folder);
  const parts = plannedMatrices(config).flatMap(
    (planned) => (fused ? planned.otherwise?.[0] : undefined) ?? planned.parts,
  );
  await writeModel(folder, json, Object.fromEntries(parts.map(({ name, stored }) => [name, stored])));
  return config;
}
