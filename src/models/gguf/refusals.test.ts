import { expect, test } from "bun:test";
import { checkForGguf } from "./refusals.ts";
import { configOf } from "./testing/config.ts";

test("what llama.cpp would compute otherwise is refused, or said", () => {
  const gemma2 = { query_pre_attn_scalar: 16, sliding_window: 32 };
  expect(checkForGguf(configOf("llama"))).toEqual([]);
  expect(checkForGguf(configOf("gemma2", gemma2))).toEqual([]);
  expect(checkForGguf(configOf("mistral", { sliding_window: 64 }))).toEqual([
    expect.stringContaining("sliding window of 64 tokens"),
  ]);
  const dynamic = { rope_scaling: { rope_type: "dynamic", factor: 2 }, max_position_embeddings: 128 };
  expect(checkForGguf(configOf("llama", dynamic))).toEqual([
    expect.stringContaining("no dynamic RoPE: texts longer than 128"),
  ]);
  const factors = { short_factor: [1], long_factor: [2], original_max_position_embeddings: 64 };
  const mixture = { layer_types: ["conv", "full_attention"], num_experts: 4, num_experts_per_tok: 2 };
  const rule = { linear_key_head_dim: 8, linear_value_head_dim: 8 };
  const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 64 };
  const gemma4 = { hidden_size_per_layer_input: 0, num_hidden_layers: 4, sliding_window: 32, global_head_dim: 32 };
  const types = (...full: boolean[]) => full.map((one) => (one ? "full_attention" : "sliding_attention"));
  const ofLayer = (index: number, num_key_value_heads: number) => ({ [index]: { num_key_value_heads } });
  const apart = types(true, false, false, true);
  const shared = { ...gemma4, layer_types: types(false, true, false, true), num_kv_shared_layers: 2 };
  expect(checkForGguf(configOf("gemma4_text", shared))).toEqual([]);
  expect(checkForGguf(configOf("gpt_oss"))).toEqual([expect.stringContaining("its logits differ slightly")]);
  for (const beta of [{ beta_fast: 16 }, { beta_slow: 2 }]) {
    expect(checkForGguf(configOf("llama", { rope_scaling: { ...yarn, ...beta } }))).toEqual([
      expect.stringContaining("beta_fast 32 and beta_slow 1, whatever a file says"),
    ]);
    expect(checkForGguf(configOf("ministral3", { rope_parameters: { ...yarn, ...beta } }))).toEqual([]);
  }
  const refused: [string, object, RegExp][] = [
    ["llama", { hidden_act: "gelu" }, /activation gelu/],
    ["gemma2", { ...gemma2, query_pre_attn_scalar: 4 }, /attention scale 0.5/],
    ["qwen3", { attention_bias: true }, /biases of attention/],
    ["llama", { rope_scaling: { rope_type: "longrope", ...factors } }, /RoPE scaling longrope/],
    ["gemma2", { ...gemma2, tie_word_embeddings: false }, /an output matrix of its own/],
    ["gemma2", { ...gemma2, final_logit_softcapping: null }, /no soft caps/],
    [
      "gemma2",
      { ...gemma2, num_hidden_layers: 1, layer_types: ["full_attention"] },
      /which layers have a sliding window/,
    ],
    ["phi3", { head_dim: 32 }, /heads of 32 elements/],
    ["qwen2", { head_dim: 32 }, /heads of 32 elements/],
    ["olmo2", { head_dim: 32 }, /heads of 32 elements/],
    ["olmo2", { tie_word_embeddings: true }, /an embedding that is the output matrix as well/],
    ["granite", { head_dim: 32 }, /heads of 32 elements/],
    ["seed_oss", { mlp_bias: true }, /biases of outputs/],
    ["smollm3", { no_rope_layers: [0, 1] }, /which layers have no rope/],
    ["smollm3", { mlp_bias: true }, /biases of outputs/],
    ["olmo3", { num_hidden_layers: 4, layer_types: Array(4).fill("sliding_attention") }, /which layers have a sliding/],
    ["exaone4", { sliding_window: 32 }, /windows of a model of another size/],
    ["starcoder2", { hidden_act: "gelu_pytorch_tanh", use_bias: false }, /no biases/],
    ["starcoder2", { hidden_act: "silu" }, /activation silu/],
    ["cohere2", { num_hidden_layers: 4, tie_word_embeddings: false }, /an output matrix of its own/],
    ["cohere2", { num_hidden_layers: 4, rope_scaling: { rope_type: "linear", factor: 2 } }, /RoPE scaling linear/],
    ["lfm2", { layer_types: ["conv", "full_attention"], conv_bias: true }, /biases of outputs/],
    ["lfm2", { layer_types: ["full_attention", "full_attention"] }, /no convolutions/],
    ["qwen3_moe", { norm_topk_prob: false }, /norm_topk_prob false/],
    ["qwen3_moe", { norm_topk_prob: true, mlp_only_layers: [0] }, /layers without experts/],
    ["olmoe", { norm_topk_prob: true }, /norm_topk_prob true/],
    ["qwen2_moe", { norm_topk_prob: true, tie_word_embeddings: false }, /norm_topk_prob true/],
    ["qwen2_moe", { tie_word_embeddings: true }, /an embedding that is the output matrix as well/],
    [
      "lfm2_moe",
      { ...mixture, num_dense_layers: 1, use_expert_bias: false },
      /experts that are chosen by their weights alone/,
    ],
    ["lfm2_moe", { ...mixture, num_dense_layers: 1, routed_scaling_factor: 2 }, /routed_scaling_factor 2/],
    ["lfm2_moe", mixture, /no layers with experts/],
    ["lfm2", { layer_types: ["conv", "full_attention"], head_dim: 32 }, /heads of 32 elements/],
    ["qwen3_5_text", { layer_types: ["full_attention", "linear_attention"], ...rule }, /which layers have attention/],
    ["qwen3_5_text", { layer_types: ["full_attention", "full_attention"] }, /no layers of the gated delta rule/],
    ["qwen3_next", { linear_key_head_dim: 8, num_hidden_layers: 4 }, /keys of 8 and values of 128 elements/],
    ["olmoe", { num_experts: 8, num_experts_per_tok: 2 }, /heads that share keys and values/],
    ["gpt_oss", { attention_bias: false }, /no biases/],
    ["gpt_oss", { tie_word_embeddings: true }, /an embedding that is the output matrix as well/],
    ["gpt_oss", { swiglu_limit: 6 }, /swiglu_limit 6/],
    ["gpt_oss", { layer_types: Array(2).fill("full_attention") }, /which layers have a sliding window/],
    ["gpt_oss", { rope_scaling: { ...yarn, truncate: true } }, /YaRN with truncation/],
    ["llama", { rope_scaling: { ...yarn, truncate: false } }, /YaRN without truncation/],
    ["gemma4_text", { ...gemma4, layer_types: types(true, true, true, true) }, /no layers that see a window/],
    [
      "gemma4_text",
      { ...gemma4, per_layer_config: ofLayer(1, 1) },
      /2 and 1 heads of keys in layers that see a window/,
    ],
    ["gemma4_text", { ...gemma4, sliding_window: null }, /no sliding window/],
    [
      "gemma4_text",
      { ...gemma4, rope_parameters: { full_attention: { rope_type: "default" } } },
      /RoPE scaling default/,
    ],
    ["gemma4_text", { ...gemma4, attention_bias: true }, /biases of attention/],
    ["gemma4_text", { ...gemma4, hidden_size_per_layer_input: 4 }, /inputs of layers for 262144 of 100 tokens/],
    ["gemma4_text", { ...gemma4, layer_types: apart, num_kv_shared_layers: 1 }, /with the keys of layer 0/],
  ];
  for (const [type, settings, message] of refused) {
    expect(() => checkForGguf(configOf(type, settings))).toThrow(message);
  }
});
