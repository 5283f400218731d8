import { describe, expect, test } from "bun:test";
import { refusalOf } from "../../files/testing/folder.ts";
import type { DecoderConfig } from "../decoder/config.ts";
import { packBlocks, unpackBlocks } from "./blocks.ts";
import { ggufPlace } from "./names.ts";
import { checkForGguf } from "./refusals.ts";
import { ropeFactors } from "./rope-factors.ts";
import { permuteRows } from "./rows.ts";

const LLAMA: DecoderConfig = {
  architecture: "llama",
  vocabularySize: 100,
  hiddenSize: 64,
  intermediateSize: 96,
  heads: 4,
  kvHeads: 2,
  headSize: 16,
  layers: [
    { window: Infinity, rope: 0 },
    { window: Infinity, rope: 0 },
  ],
  ropes: [{ theta: 10_000, size: 16, scaling: { kind: "default" } }],
  contextLength: 256,
  epsilon: 1e-5,
  normOffset: 0,
  activation: "silu",
  embeddingScale: 1,
  attentionScale: 0.25,
  attentionSoftcap: undefined,
  logitSoftcap: undefined,
  tied: false,
  queryKeyNorm: false,
  postNorms: false,
  qkvBias: false,
  outputBias: false,
  mlpBias: false,
  fused: false,
  endTokens: [],
};
const GEMMA2: DecoderConfig = {
  ...LLAMA,
  architecture: "gemma2",
  activation: "gelu-tanh",
  postNorms: true,
  normOffset: 1,
  tied: true,
  attentionSoftcap: 50,
  logitSoftcap: 30,
  layers: [
    { window: 32, rope: 0 },
    { window: Infinity, rope: 0 },
  ],
};

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
    expect(place("model.embed_tokens.weight")).toEqual({ name: "token_embd.weight", heads: 0, offset: 0 });
    expect(place("model.layers.11.self_attn.q_proj.bias")).toEqual({ name: "blk.11.attn_q.bias", heads: 4, offset: 0 });
    expect(place("model.layers.0.self_attn.k_proj.weight")?.heads).toBe(2);
    expect(place("model.layers.0.post_attention_layernorm.weight")?.name).toBe("blk.0.ffn_norm.weight");
    expect(place("lm_head.weight")?.name).toBe("output.weight");
    expect(place("model.layers.0.self_attn.rotary_emb.inv_freq")).toBeUndefined();
    expect(ggufPlace("lm_head.weight", { ...LLAMA, tied: true })).toBeUndefined();
    expect(ggufPlace("model.layers.0.self_attn.q_proj.weight", { ...LLAMA, architecture: "qwen2" })?.heads).toBe(0);
  });

  test("Gemma's norms are stored without their 1, and two have other names", () => {
    const place = (name: string) => ggufPlace(name, GEMMA2);
    expect(place("model.norm.weight")).toEqual({ name: "output_norm.weight", heads: 0, offset: 1 });
    const after = place("model.layers.1.post_attention_layernorm.weight");
    expect(after).toEqual({ name: "blk.1.post_attention_norm.weight", heads: 0, offset: 1 });
    expect(place("model.layers.1.pre_feedforward_layernorm.weight")?.name).toBe("blk.1.ffn_norm.weight");
    expect(place("model.layers.1.mlp.up_proj.weight")?.offset).toBe(0);
  });

  test("what has none is refused by name", async () => {
    const refusal = await refusalOf(() => ggufPlace("score.weight", LLAMA));
    expect(refusal).toMatchObject({ code: "model", message: 'tensor "score.weight" has no place in GGUF\'s llama' });
  });
});

test("what llama.cpp would compute otherwise is refused, or said", () => {
  expect(checkForGguf(LLAMA)).toEqual([]);
  expect(checkForGguf(GEMMA2)).toEqual([]);
  const windowed = { ...LLAMA, layers: [{ window: 64, rope: 0 }] };
  expect(checkForGguf(windowed)).toEqual([expect.stringContaining("sliding window of 64 tokens")]);
  const ropes = (scaling: DecoderConfig["ropes"][number]["scaling"]) => [{ theta: 10_000, size: 16, scaling }];
  const dynamic = { ...LLAMA, ropes: ropes({ kind: "dynamic", factor: 2, trainedLength: 128 }) };
  expect(checkForGguf(dynamic)).toEqual([expect.stringContaining("no dynamic RoPE: texts longer than 128")]);
  const factors = { shortFactor: [1], longFactor: [2], trainedLength: 64, attentionFactor: 1 };
  const refused: [Partial<DecoderConfig>, RegExp][] = [
    [{ activation: "gelu" }, /activation gelu/],
    [{ attentionScale: 0.5 }, /attention scale 0.5/],
    [{ architecture: "qwen3", qkvBias: true }, /biases of attention/],
    [{ ropes: ropes({ kind: "longrope", ...factors }) }, /RoPE scaling longrope/],
    [{ ...GEMMA2, tied: false }, /an output matrix of its own/],
    [{ ...GEMMA2, logitSoftcap: undefined }, /no soft caps/],
    [{ ...GEMMA2, layers: [{ window: Infinity, rope: 0 }] }, /which layers have a sliding window/],
    [{ architecture: "phi3", headSize: 32, attentionScale: 32 ** -0.5 }, /heads of 32 elements/],
  ];
  for (const [change, message] of refused) expect(() => checkForGguf({ ...LLAMA, ...change })).toThrow(message);
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
