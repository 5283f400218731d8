import { describe, expect, test } from "bun:test";
import { refusalOf } from "../../files/testing/folder.ts";
import type { DecoderConfig } from "../decoder/config.ts";
import { packBlocks, unpackBlocks } from "../read-weights.ts";
import { isPassedOver } from "./layers.ts";
import { ggufPlace } from "./names.ts";
import { ropeFactors } from "./rope-factors.ts";
import { configOf } from "./testing/config.ts";
import { headPlaces, inTurns, pairedRows, reorder } from "./place.ts";

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

test("blocks of MXFP4 are an exponent and halves of bytes, signs and twice the magnitudes of E2M1", () => {
  const numbers = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
  const halves = Uint8Array.from({ length: 16 }, (_, at) => at | ((15 - at) << 4));
  const signed = [...numbers, ...numbers.map((number) => -number)];
  const wanted = [...signed, ...signed.toReversed()];
  for (const exponent of [0, 1, 2, 126, 127, 200, 254]) {
    const found = unpackBlocks(Uint8Array.of(exponent, ...halves), "MXFP4");
    expect([...found]).toEqual(wanted.map((number) => Math.fround(number * 2 ** (exponent - 127))));
  }
  expect(unpackBlocks(Uint8Array.of(255, ...halves), "MXFP4").every(Number.isNaN)).toBeTrue();
});

test("rows of a head are paired as W.reshape(h, 2, d/2).swapaxes(1, 2) has them, and back", () => {
  const rows = Uint8Array.from({ length: 16 }, (_, row) => row);
  const paired = reorder(rows, pairedRows(8), 1);
  expect([...paired]).toEqual([0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]);
  expect(reorder(paired, pairedRows(8), 1, true)).toEqual(rows);
});

describe("a tensor's place", () => {
  test("is llama.cpp's; q and k of Llama change rows", () => {
    const place = (name: string) => ggufPlace(name, LLAMA);
    expect(place("model.embed_tokens.weight")).toEqual({ name: "token_embd.weight" });
    expect(place("model.layers.1.self_attn.q_proj.bias")).toEqual({
      name: "blk.1.attn_q.bias",
      order: pairedRows(16),
    });
    expect(place("model.layers.0.self_attn.k_proj.weight")?.order?.places.length).toBe(16);
    expect(place("model.layers.0.self_attn.v_proj.weight")?.order).toBeUndefined();
    expect(place("model.layers.0.post_attention_layernorm.weight")?.name).toBe("blk.0.ffn_norm.weight");
    expect(place("lm_head.weight")?.name).toBe("output.weight");
    expect(place("model.layers.0.self_attn.rotary_emb.inv_freq")).toBeUndefined();
    expect(ggufPlace("lm_head.weight", configOf("llama", { tie_word_embeddings: true }))).toBeUndefined();
    expect(ggufPlace("model.layers.0.self_attn.q_proj.weight", configOf("qwen2"))?.order).toBeUndefined();
  });

  test("Gemma's norms are stored without their 1, and two have other names", () => {
    const place = (name: string) => ggufPlace(name, GEMMA2);
    const last = place("model.norm.weight");
    expect([last?.name, last?.numbers?.to(2), last?.numbers?.from(2)]).toEqual(["output_norm.weight", 3, 1]);
    expect(place("model.layers.1.post_attention_layernorm.weight")?.name).toBe("blk.1.post_attention_norm.weight");
    expect(place("model.layers.1.pre_feedforward_layernorm.weight")?.name).toBe("blk.1.ffn_norm.weight");
    expect(place("model.layers.1.mlp.up_proj.weight")?.numbers).toBeUndefined();
  });

  test("norms behind blocks are called by what they do", () => {
    const olmo2 = configOf("olmo2");
    const place = (name: string) => ggufPlace(`model.layers.0.${name}.weight`, olmo2)?.name;
    expect(place("post_attention_layernorm")).toBe("blk.0.post_attention_norm.weight");
    expect(place("post_feedforward_layernorm")).toBe("blk.0.post_ffw_norm.weight");
    expect(place("self_attn.q_norm")).toBe("blk.0.attn_q_norm.weight");
  });

  test("experts lie in tensors of all: each expert's matrix in one strip", () => {
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
    expect(ggufPlace("model.layers.0.block_sparse_moe.gate.weight", mixtral)).toMatchObject({
      name: "blk.0.ffn_gate_inp.weight",
      exact: true,
    });
  });

  test("gpt-oss's experts, transposed and a neuron's gate beside its up, have gate and up apart, and biases", () => {
    const config = configOf("gpt_oss", { num_local_experts: 2, num_experts_per_tok: 1 });
    const place = (name: string) => ggufPlace(`model.layers.1.mlp.${name}`, config);
    const strips = (name: string) =>
      place(name)?.strips?.map(({ name: tensor, first, rows }) => [tensor.slice("blk.1.ffn_".length), first, rows]);
    expect(strips("experts.gate_up_proj")).toEqual([
      ["gate_exps.weight", 0, 96],
      ["up_exps.weight", 0, 96],
      ["gate_exps.weight", 96, 96],
      ["up_exps.weight", 96, 96],
    ]);
    expect(strips("experts.gate_up_proj_bias")?.slice(2)).toEqual([
      ["gate_exps.bias", 1, 1],
      ["up_exps.bias", 1, 1],
    ]);
    expect(place("experts.gate_up_proj")).toMatchObject({
      transposed: true,
      order: { places: inTurns(96), of: "rows" },
    });
    // One list for all experts of all layers, of which there may be thousands.
    const [layer, other] = [0, 1].map((at) => ggufPlace(`model.layers.${at}.mlp.experts.gate_up_proj`, config)?.order);
    expect(layer?.places === other?.places).toBeTrue();
    expect(inTurns(3)).toEqual([0, 3, 1, 4, 2, 5]);
    const names = ["experts.down_proj", "experts.down_proj_bias", "router.bias"].map((name) => place(name)?.name);
    expect(names).toEqual(["blk.1.ffn_down_exps.weight", "blk.1.ffn_down_exps.bias", "blk.1.ffn_gate_inp.bias"]);
    expect(ggufPlace("model.layers.0.self_attn.sinks", config)?.name).toBe("blk.0.attn_sinks.weight");
  });

  test("Gemma 4's inputs of layers and scalars have llama.cpp's names, and unread keys have none", () => {
    const sizes = { hidden_size_per_layer_input: 8, num_hidden_layers: 4, num_kv_shared_layers: 2 };
    const types = [0, 1, 0, 1].map((full) => (full === 1 ? "full_attention" : "sliding_attention"));
    const config = configOf("gemma4_text", { ...sizes, layer_types: types });
    const place = (name: string) => ggufPlace(`model.${name}`, config)?.name;
    expect(place("layers.1.layer_scalar")).toBe("blk.1.layer_output_scale.weight");
    expect(place("layers.1.per_layer_input_gate.weight")).toBe("blk.1.inp_gate.weight");
    expect(place("layers.1.per_layer_projection.weight")).toBe("blk.1.proj.weight");
    expect(place("layers.1.post_per_layer_input_norm.weight")).toBe("blk.1.post_norm.weight");
    expect(place("embed_tokens_per_layer.weight")).toBe("per_layer_token_embd.weight");
    expect(place("per_layer_projection_norm.weight")).toBe("per_layer_proj_norm.weight");
    expect(place("layers.2.self_attn.q_proj.weight")).toBe("blk.2.attn_q.weight");
    expect(place("layers.2.self_attn.k_proj.weight")).toBeUndefined();
    const passed = ["blk.2.attn_k.weight", "blk.3.attn_k_norm.weight", "blk.4.nextn.eh_proj.weight"];
    const read = ["blk.1.attn_k.weight", "blk.2.attn_q.weight", "blk.5.attn_q.weight", "output_norm.weight"];
    expect([...passed, ...read].filter((name) => isPassedOver(name, config, 5))).toEqual(passed);
  });

  test("heads of values of the gated delta rule are in llama.cpp's order, queries, keys and values of Qwen3-Next apart", () => {
    const sizes = { linear_key_head_dim: 8, linear_value_head_dim: 8, num_experts: 16 };
    const rule = { linear_num_key_heads: 2, linear_num_value_heads: 4, num_hidden_layers: 4, ...sizes };
    const place = (name: string, type: string) => ggufPlace(`model.layers.0.linear_attn.${name}`, configOf(type, rule));
    const firsts = (name: string, type: string) =>
      place(name, type)?.strips?.map(({ name: tensor, first, rows }) => [tensor.split(".")[2], first, rows]);
    expect(headPlaces(2, 4)).toEqual([0, 2, 1, 3]);
    const values = [32, 48, 40, 56].map((first) => ["attn_qkv", first, 8]);
    expect(firsts("in_proj_qkv.weight", "qwen3_5_text")).toEqual([["attn_qkv", 0, 32], ...values]);
    const ofHead = (head: number) => [
      ["attn_qkv", 8 * head, 8],
      ["attn_qkv", 16 + 8 * head, 8],
      ["attn_qkv", 32 + 16 * head, 16],
      ["attn_gate", 16 * head, 16],
    ];
    expect(firsts("in_proj_qkvz.weight", "qwen3_next")).toEqual([...ofHead(0), ...ofHead(1)]);
    expect(place("out_proj.weight", "qwen3_5_text")?.order).toEqual({ places: [0, 2, 1, 3], of: "parts" });
    expect(place("out_proj.weight", "qwen3_next")?.order).toBeUndefined();
    const rate = place("A_log", "qwen3_5_text");
    expect([rate?.name, rate?.numbers?.to(0), rate?.numbers?.from(-1)]).toEqual(["blk.0.ssm_a", -1, 0]);
    expect(place("dt_bias", "qwen3_next")?.name).toBe("blk.0.ssm_dt.bias");
    const granite = { num_local_experts: 0, layer_types: ["attention"], shared_intermediate_size: 96 };
    const strips = ggufPlace(
      "model.layers.1.shared_mlp.input_linear.weight",
      configOf("granitemoehybrid", granite),
    )?.strips;
    expect(strips?.map(({ name }) => name)).toEqual(["blk.1.ffn_gate.weight", "blk.1.ffn_up.weight"]);
  });

  test("what has none is refused by name", async () => {
    const refusal = await refusalOf(() => ggufPlace("score.weight", LLAMA));
    expect(refusal).toMatchObject({ code: "model", message: 'tensor "score.weight" has no place in GGUF\'s llama' });
  });
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
  const gemma4 = ropeFactors(configOf("gemma4_text", { global_head_dim: 16 }));
  expect(gemma4.map(({ factors: of }) => [...of])).toEqual([[1, 1, ...Array(6).fill(Math.fround(1e30))]]);
});
