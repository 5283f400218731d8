import type { Family } from "../../../../data/text/testing/families.ts";
import { ARCHITECTURES } from "../../../../models/decoder/architectures/index.ts";

export const TEXT = { vocab_size: 544, max_position_embeddings: 256, eos_token_id: 2 };
const LLAMA3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 32 };
const FACTORS = { short_factor: [1, 1.1, 1.2, 1.3], long_factor: [1, 1.5, 2, 2.5] };

export const GEMMA = { query_pre_attn_scalar: 8, sliding_window: 32, hidden_activation: "gelu_pytorch_tanh" };
/** Routers and the weights of convolutions, which llama.cpp has in F32 alone. */
export const EXACT =
  /\.experts\.\w+_bias$|\.(?:block_sparse_moe\.gate|mlp\.gate|mlp\.router|router\.proj|feed_forward\.gate|shared_expert_gate|router\.layer|conv\.conv|conv1d)\.weight$|(?:^|\.)wpe\.weight$/;
/** What a file's name of the architecture is read as. */
export const READ_AS: Readonly<Record<string, string>> = { mistral: "llama", ministral: "llama" };
/** Text decoders of models with images are read as models of their own. */
const WITH_IMAGES = ["gemma3", "gemma4", "mistral3", "qwen3_5"];
/** Heads of whole blocks. */
const DELTA_RULE = { full_attention_interval: 2, linear_value_head_dim: 32, linear_key_head_dim: 32 };
/** Settings without which llama.cpp has no such model. */
const OWN: Readonly<Record<string, object>> = {
  mistral: { sliding_window: null },
  mixtral: { sliding_window: null },
  ministral: { sliding_window: null },
  granitemoehybrid: { layer_types: ["attention", "attention"], position_embedding_type: "nope" },
  qwen2_moe: { shared_expert_intermediate_size: 64, num_experts: 8 },
  lfm2_moe: { layer_types: ["conv", "full_attention"], num_dense_layers: 1, num_experts: 8 },
  qwen3_next: DELTA_RULE,
  qwen3_5_text: DELTA_RULE,
  exaone4: { sliding_window: null, rope_theta: 500_000, rope_scaling: { rope_type: "llama3", ...LLAMA3 } },
  qwen3_moe: { norm_topk_prob: true },
  olmoe: { num_key_value_heads: 4 },
  olmo3: { sliding_window: 32 },
  gpt_oss: { sliding_window: 32 },
  cohere2: { sliding_window: 32 },
  gpt2: { n_positions: 64 },
  starcoder2: { hidden_act: "gelu_pytorch_tanh" },
  lfm2: { layer_types: ["conv", "full_attention"], block_auto_adjust_ff_dim: false },
};
/** Layers, of which some are of another kind in each so many; 64 layers are those of EXAONE 4 32B. */
export const LAYERS: Readonly<Record<string, number>> = {
  gemma3_text: 6,
  gemma4_text: 6,
  "keys that layers share": 6,
  "keys that are values": 6,
  "values beside other heads of keys": 6,
  "experts beside an MLP": 6,
  olmo3: 4,
  cohere2: 4,
  "windows of EXAONE 4": 64,
};
/** Layers 5 and 6 attend with keys of layers 3 and 4. */
const SHARED_KEYS = {
  sliding_window: 32,
  layer_types: ["sliding", "sliding", "sliding", "full", "sliding", "full"].map((one) => `${one}_attention`),
  num_kv_shared_layers: 2,
  use_double_wide_mlp: true,
  hidden_size_per_layer_input: 32,
  vocab_size_per_layer_input: TEXT.vocab_size,
};
const KEYS_AS_VALUES = { attention_k_eq_v: true, num_global_key_value_heads: 1, sliding_window: 32 };
const VALUES_OF_LAYERS = { per_layer_config: { 5: { head_dim: 16, num_key_value_heads: 1 } }, sliding_window: 32 };
/** Every architecture that GGUF has, and what differs inside of one. */
export const MODELS: readonly [name: string, type: string, settings: object][] = [
  ...ARCHITECTURES.filter(({ gguf, type }) => gguf !== undefined && !WITH_IMAGES.includes(type)).map(({ type }) => {
    return [type, type, OWN[type] ?? (type.startsWith("gemma") ? GEMMA : {})] as [string, string, object];
  }),
  ["windows of EXAONE 4", "exaone4", { sliding_window: 32 }],
  ["keys that layers share", "gemma4_text", SHARED_KEYS],
  ["keys that are values", "gemma4_text", KEYS_AS_VALUES],
  ["values beside other heads of keys", "gemma4_text", VALUES_OF_LAYERS],
  ["experts beside an MLP", "gemma4_text", { ...GEMMA, enable_moe_block: true, num_experts: 8, top_k_experts: 2 }],
  ["llama with biases", "llama", { attention_bias: true, mlp_bias: true, tie_word_embeddings: true }],
  ["Llama 3's rope", "llama", { rope_theta: 500_000, rope_scaling: { rope_type: "llama3", ...LLAMA3 } }],
  ["a linear rope", "llama", { rope_scaling: { rope_type: "linear", factor: 2 } }],
  [
    "YaRN",
    "qwen2",
    { rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 64, beta_fast: 16 } },
  ],
  ["longrope", "phi3", { original_max_position_embeddings: 64, rope_scaling: { type: "longrope", ...FACTORS } }],
];

export const FAMILIES: Readonly<Record<string, Family>> = {
  qwen2: "qwen2",
  qwen3: "qwen2",
  gemma2: "gemma",
  gemma3_text: "gemma",
  gemma4_text: "gemma",
};
