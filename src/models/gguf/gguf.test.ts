import { describe, expect, test } from "bun:test";
import { refusalOf } from "../../files/testing/folder.ts";
import * as v from "valibot";
import { ARCHITECTURES } from "../decoder/architectures/index.ts";
import { ConfigJson } from "../decoder/config-file.ts";
import type { DecoderConfig } from "../decoder/config.ts";
import { packBlocks, unpackBlocks } from "./blocks.ts";
import { ggufPlace } from "./names.ts";
import { checkForGguf } from "./refusals.ts";
import { ropeFactors } from "./rope-factors.ts";
import { permuteRows } from "./rows.ts";

/** A small model of this `model_type`. @param settings of config.json */
function configOf(model_type: string, settings: object = {}): DecoderConfig {
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

const LLAMA = configOf("llama");
const GEMMA2 = configOf("gemma2", { query_pre_attn_scalar: 16, sliding_window: 32 });

test("blocks lie as llama.cpp has them: the scale, then the numbers, halves of Q4_0 in one byte", () => {
  const values = Float32Array.from({ length: 32 }, (_, at) => (at === 31 ? -8 : at % 8));
  expect([...packBlocks(values, "Q4_0")]).toEqual([
    0x00,
    0x3c,
    ...Array.from({ length: 16 }, (_, at) => ((at % 8) + 8) | ((at === 15 ? 0 : (at % 8) + 8) << 4)),
  ]);
  const halves = Float32Array.from({ length: 32 }, (_, at) => (at - 16) * 0.5);
  expect([...unpackBlocks(packBlocks(values, "Q4_0"), "Q4_0")]).toEqual([...values]);
  const packed = packBlocks(halves, "Q8_0");
  expect(packed.length).toBe(34);
  for (const [at, value] of unpackBlocks(packed, "Q8_0").entries()) expect(value).toBeCloseTo(halves[at] ?? NaN, 1);
});

test("rows of a head are paired as W.reshape(h, 2, d/2).swapaxes(1, 2) has them, and back", () => {
  const rows = Uint8Array.from({ length: 16 }, (_, row) => row);
  const paired = permuteRows(rows, 8, 1);
  expect([...paired]).toEqual([0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]);
  expect(permuteRows(paired, 8, 1, true)).toEqual(rows);
});

describe("a tensor's place", () => {
  test("is llama.cpp's; q and k of Llama change rows", () => {
    const place = (name: string) => ggufPlace(name, LLAMA);
    expect(place("model.embed_tokens.weight")).toEqual({ name: "token_embd.weight", headSize: 0, offset: 0 });
    expect(place("model.layers.1.self_attn.q_proj.bias")).toEqual({
      name: "blk.1.attn_q.bias",
      headSize: 16,
      offset: 0,
    });
    expect(place("model.layers.0.self_attn.k_proj.weight")?.headSize).toBe(16);
    expect(place("model.layers.0.self_attn.v_proj.weight")?.headSize).toBe(0);
    expect(place("model.layers.0.post_attention_layernorm.weight")?.name).toBe("blk.0.ffn_norm.weight");
    expect(place("lm_head.weight")?.name).toBe("output.weight");
    expect(place("model.layers.0.self_attn.rotary_emb.inv_freq")).toBeUndefined();
    expect(ggufPlace("lm_head.weight", configOf("llama", { tie_word_embeddings: true }))).toBeUndefined();
    expect(ggufPlace("model.layers.0.self_attn.q_proj.weight", configOf("qwen2"))?.headSize).toBe(0);
  });

  test("Gemma's norms are stored without their 1, and two have other names", () => {
    const place = (name: string) => ggufPlace(name, GEMMA2);
    expect(place("model.norm.weight")).toEqual({ name: "output_norm.weight", headSize: 0, offset: 1 });
    const after = place("model.layers.1.post_attention_layernorm.weight");
    expect(after).toEqual({ name: "blk.1.post_attention_norm.weight", headSize: 0, offset: 1 });
    expect(place("model.layers.1.pre_feedforward_layernorm.weight")?.name).toBe("blk.1.ffn_norm.weight");
    expect(place("model.layers.1.mlp.up_proj.weight")?.offset).toBe(0);
  });

  test("norms behind blocks are called by what they do", () => {
    const olmo2 = configOf("olmo2");
    const place = (name: string) => ggufPlace(`model.layers.0.${name}.weight`, olmo2)?.name;
    expect(place("post_attention_layernorm")).toBe("blk.0.post_attention_norm.weight");
    expect(place("post_feedforward_layernorm")).toBe("blk.0.post_ffw_norm.weight");
    expect(place("self_attn.q_norm")).toBe("blk.0.attn_q_norm.weight");
  });

  test("experts lie in tensors of all: each expert's matrix in one strip, gate and up of all in turns", () => {
    const sizes = { num_local_experts: 2, num_experts_per_tok: 1 };
    const mixtral = configOf("mixtral", sizes);
    const inside = (name: string, first: number, rows: number, cols: number) => ({
      name: `blk.1.ffn_${name}_exps.weight`,
      shape: [2, rows, cols],
      first,
      rows,
    });
    const strips = (name: string, config: DecoderConfig) =>
      ggufPlace(`model.layers.1.block_sparse_moe.${name}`, config)?.strips;
    expect(strips("experts.1.w3.weight", mixtral)).toEqual([inside("up", 96, 96, 64)]);
    expect(strips("experts.1.w2.weight", mixtral)).toEqual([inside("down", 64, 64, 96)]);
    const granite = configOf("granitemoe", sizes);
    const turns = (["gate", "up"] as const).flatMap((name) => [inside(name, 0, 96, 64), inside(name, 96, 96, 64)]);
    expect(strips("input_linear.weight", granite)).toEqual([0, 2, 1, 3].flatMap((at) => turns[at] ?? []));
    expect(strips("output_linear.weight", granite)).toBeUndefined();
    expect(ggufPlace("model.layers.0.block_sparse_moe.gate.weight", mixtral)).toMatchObject({
      name: "blk.0.ffn_gate_inp.weight",
      exact: true,
    });
  });

  test("what has none is refused by name", async () => {
    const refusal = await refusalOf(() => ggufPlace("score.weight", LLAMA));
    expect(refusal).toMatchObject({ code: "model", message: 'tensor "score.weight" has no place in GGUF\'s llama' });
  });
});

test("what llama.cpp would compute otherwise is refused, or said", () => {
  expect(checkForGguf(LLAMA)).toEqual([]);
  expect(checkForGguf(GEMMA2)).toEqual([]);
  expect(checkForGguf(configOf("mistral", { sliding_window: 64 }))).toEqual([
    expect.stringContaining("sliding window of 64 tokens"),
  ]);
  const dynamic = { rope_scaling: { rope_type: "dynamic", factor: 2 }, max_position_embeddings: 128 };
  expect(checkForGguf(configOf("llama", dynamic))).toEqual([
    expect.stringContaining("no dynamic RoPE: texts longer than 128"),
  ]);
  const factors = { short_factor: [1], long_factor: [2], original_max_position_embeddings: 64 };
  const gemma2 = { query_pre_attn_scalar: 16, sliding_window: 32 };
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
    ["olmoe", { num_experts: 8, num_experts_per_tok: 2 }, /heads that share keys and values/],
  ];
  for (const [type, settings, message] of refused) {
    expect(() => checkForGguf(configOf(type, settings))).toThrow(message);
  }
});

test("Llama 3's rope: kept, stretched, and between", () => {
  const scaling = { factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, trainedLength: 8192 } as const;
  const ropes = [{ theta: 500_000, size: 128, scaling: { kind: "llama3", ...scaling } as const }];
  const [tensor] = ropeFactors({ ...LLAMA, ropes });
  expect(tensor?.name).toBe("rope_freqs.weight");
  const factors = tensor?.factors ?? new Float32Array();
  expect(factors.length).toBe(64);
  expect([factors[0], factors[63]]).toEqual([1, 8]);
  for (let pair = 1; pair < 64; pair++) expect(factors[pair]).toBeGreaterThanOrEqual(factors[pair - 1] ?? 0);
  expect(ropeFactors(LLAMA)).toEqual([]);
});
