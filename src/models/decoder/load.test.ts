import { afterAll, beforeAll, expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import { matrixOf } from "../../compute/tensor/op.ts";
import { activationNamed } from "./architectures/common.ts";
import { loadConfig } from "./architectures/index.ts";
import { attentionsOf } from "./config.ts";
import { loadDecoder } from "../folder/load-decoder.ts";

const LONG = `${"x".repeat(120)}\n`.repeat(1000);

let gpu: Device;
let folder: TemporaryFolder;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
  await symlink(join(STORIES, "model.safetensors"), folder.at("model.safetensors"));
});
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

/** The story model's config.json with other settings; undefined removes one. */
async function withConfig(changes: Readonly<Record<string, unknown>>): Promise<string> {
  const json = await Bun.file(join(STORIES, "config.json")).json();
  await Bun.write(folder.at("config.json"), JSON.stringify({ ...json, ...changes }));
  return folder.path;
}

test.each([
  ["fewer layers", { num_hidden_layers: 4 }, "does not have: model.layers.4.input_layernorm.weight, "],
  ["more layers", { num_hidden_layers: 6 }, "missing weights: model.layers.5.input_layernorm.weight, "],
  ["another width", { intermediate_size: 176 }, "its shape is [172, 64], by config.json it is [176, 64]"],
  ["an output matrix of its own", { tie_word_embeddings: false }, "missing weights: lm_head.weight"],
])("weights that do not fit config.json are named: %s", async (_, changes, message) => {
  const before = gpu.memory.liveBytes;
  await expect(loadDecoder(gpu, await withConfig(changes))).rejects.toMatchObject({
    code: "model",
    message: expect.stringContaining(message),
  });
  expect(gpu.memory.liveBytes).toBe(before);
});

test.each([0, 1])("whoever is told of progress may throw, the first time or later: %d", async (times) => {
  const before = gpu.memory.liveBytes;
  let left = times;
  const onProgress = (): void => {
    if (left-- === 0) throw new Error("no terminal");
  };
  await expect(loadDecoder(gpu, await withConfig({}), { onProgress })).rejects.toThrow("no terminal");
  // What was under way would hold memory still, or take it.
  await gpu.idle();
  expect(gpu.memory.liveBytes).toBe(before);
});

test.each([
  ["a size", { vocab_size: LONG }],
  ["an architecture", { model_type: LONG }],
  ["an activation", { hidden_act: LONG }],
  ["a kind of RoPE", { rope_scaling: { rope_type: LONG } }],
])("what config.json says for %s is not shown beyond a line", async (_, changes) => {
  const thrown: unknown = await loadConfig(await withConfig(changes)).catch((error: unknown) => error);
  const { message = "" } = thrown instanceof Error ? thrown : {};
  expect(message).toContain("x".repeat(100));
  expect(message.length).toBeLessThan(700 + folder.path.length);
});

/** At 1 and −0.5, by transformers' activations.py in f64. */
test.each([
  ["gelu", 0.8413447460685429, -0.15426876936299344],
  ["gelu_python", 0.8413447460685429, -0.15426876936299344],
  ["gelu_new", 0.8411919906082768, -0.15428599018],
  ["gelu_fast", 0.8411919906, -0.15428599018],
  ["gelu_accurate", 0.8411919906082768, -0.15428599018],
  ["gelu_python_tanh", 0.8411919906082768, -0.15428599018],
])("%s", (name, ofOne, ofMinusHalf) => {
  const x = matrixOf(1, 2, (_, col) => (col === 0 ? 1 : -0.5));
  const [one = NaN, minusHalf = NaN] = OPS.activation.reference({ x }, { kind: activationNamed(name) }).y.data;
  expect(one).toBeCloseTo(ofOne, 9);
  expect(minusHalf).toBeCloseTo(ofMinusHalf, 9);
});

test.each([
  ["another architecture", { model_type: "mamba" }, 'models of type "mamba" cannot be run'],
  ["no architecture", { model_type: undefined }, "names no model_type"],
  ["quantized weights", { quantization_config: { bits: 4 } }, "the weights are quantized"],
  ["an unknown activation", { hidden_act: "relu2" }, 'activation "relu2" is not supported'],
  ["an unknown RoPE", { rope_scaling: { rope_type: "spiral" } }, 'RoPE scaling "spiral" is not supported'],
  ["RoPE without its factor", { rope_scaling: { rope_type: "linear" } }, 'RoPE scaling "linear" lacks factor'],
  [
    "a pattern of windows in letters",
    { model_type: "exaone4", sliding_window_pattern: "LLLG" },
    'sliding_window_pattern "LLLG" is not supported',
  ],
  [
    "a pattern without a period",
    { model_type: "gemma3_text", sliding_window_pattern: 0 },
    "sliding_window_pattern 0 is",
  ],
  ["types of some layers", { model_type: "qwen3", layer_types: ["full_attention"] }, "layer_types has 1 of 5 layers"],
  ["a window of no token", { model_type: "mistral", sliding_window: 0 }, "sliding_window 0: a token sees itself"],
  ["an architecture with a known lack", { model_type: "deepseek_v3" }, "this one needs MLA"],
  ["layers that are no attention", { model_type: "falcon_h1" }, "this one needs Mamba layers"],
  [
    "code of its own",
    { model_type: "chatglm", auto_map: { AutoModel: "a.B" } },
    "needs Python code of its own (auto_map)",
  ],
  ["weights in FP8", { quantization_config: { quant_method: "fp8" } }, "the weights are quantized (fp8)"],
  ["heads that cannot be shared", { num_key_value_heads: 3 }, "8 attention heads cannot share 3 key-value heads"],
  ["odd heads", { head_dim: 6, num_key_value_heads: 1 }, "heads of 6 elements of which"],
  [
    "more heads than elements",
    { num_attention_heads: 1000, num_key_value_heads: 1000, head_dim: undefined },
    "config.json: model.layers.0.self_attn.o_proj.weight: [64, 0] has no rows of 0",
  ],
  [
    "attention to what comes",
    { model_type: "gemma3_text", use_bidirectional_attention: true },
    "use_bidirectional_attention is not supported",
  ],
])("what cannot be run is refused: %s", async (_, changes, message) => {
  await expect(loadConfig(await withConfig(changes))).rejects.toMatchObject({
    code: "model",
    message: expect.stringContaining(message),
  });
});

test("the context is what YaRN stretches it to, and a window that the type does not read may be 0", async () => {
  const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32 };
  const contextOf = async (changes: object) => {
    return (await loadConfig(await withConfig({ max_position_embeddings: 32, ...changes }))).contextLength;
  };
  expect(await contextOf({ model_type: "qwen2", sliding_window: 0 })).toBe(32);
  expect(await contextOf({ model_type: "qwen2", rope_scaling: yarn })).toBe(128);
  expect(await contextOf({ max_position_embeddings: 512, rope_scaling: yarn })).toBe(512);
});

test("a broken or missing config.json is named", async () => {
  await expect(loadConfig(await withConfig({ hidden_size: "64" }))).rejects.toMatchObject({
    code: "format",
    message: expect.stringContaining("config.json: hidden_size: Invalid type: Expected number"),
  });
  for (const [name, value] of [
    ["num_hidden_layers", 1e8],
    ["vocab_size", 2 ** 21 + 1],
    ["hidden_size", 1e308],
    ["head_dim", 2 ** 40],
    ["rope_theta", -1],
    ["attn_logit_softcapping", 0],
    ["rms_norm_eps", -1],
  ]) {
    await expect(loadConfig(await withConfig({ [String(name)]: value }))).rejects.toMatchObject({
      code: "format",
      message: expect.stringContaining(`config.json: ${name}: Invalid value`),
    });
  }
  await Bun.write(folder.at("config.json"), "{");
  await expect(loadConfig(folder.path)).rejects.toMatchObject({ code: "format" });
  await expect(loadConfig(tmpdir())).rejects.toMatchObject({ code: "file" });
});

test("defaults and both spellings of RoPE are understood", async () => {
  const old = {
    rope_theta: 5e5,
    rope_scaling: { type: "linear", factor: 2 },
    head_dim: undefined,
    rms_norm_eps: undefined,
  };
  expect(await loadConfig(await withConfig(old))).toMatchObject({
    norm: { epsilon: 1e-6 },
    ropes: [{ theta: 5e5, size: 8, scaling: { kind: "linear", factor: 2 } }],
  });
  const parameters = { rope_type: "dynamic", factor: 4, rope_theta: 1e6, partial_rotary_factor: 1 };
  expect(await loadConfig(await withConfig({ rope_theta: undefined, rope_parameters: parameters }))).toMatchObject({
    ropes: [{ theta: 1e6, size: 8, scaling: { kind: "dynamic", factor: 4, trainedLength: 512 } }],
    // transformers leaves max_position_embeddings as it was before the context was stretched.
    contextLength: 4 * 512,
  });
});

test.each([
  ["mistral", { kvHeads: 8 }],
  ["gemma2", { kvHeads: 4 }],
  ["llama", { kvHeads: 32 }],
])("what config.json leaves out is as the architecture has it: %s", async (model_type, expected) => {
  const changes = { model_type, num_attention_heads: 32, num_key_value_heads: undefined };
  expect(attentionsOf(await loadConfig(await withConfig(changes)))[0]).toMatchObject(expected);
});

test("heads turn in part where the architecture has it, whatever their size", async () => {
  const changes = { head_dim: 20, partial_rotary_factor: 0.5 };
  expect(await loadConfig(await withConfig(changes))).toMatchObject({ ropes: [{ size: 20 }] });
  const phi = { ...changes, model_type: "phi3" };
  expect(await loadConfig(await withConfig(phi))).toMatchObject({ ropes: [{ size: 10 }] });
  const proportional = { ...changes, model_type: "glm4", rope_scaling: { type: "proportional" } };
  expect(await loadConfig(await withConfig(proportional))).toMatchObject({
    ropes: [{ size: 20, scaling: { kind: "proportional", pairs: 5 } }],
  });
  const negative = { ...phi, partial_rotary_factor: -0.5 };
  await expect(loadConfig(await withConfig(negative))).rejects.toMatchObject({
    code: "model",
    message: expect.stringContaining("-10 of 20 elements of a head turn"),
  });
});

test("gpt-oss's heads have 64 elements, and make up the hidden size where their size is null", async () => {
  const sizes = { model_type: "gpt_oss", num_local_experts: 2, num_experts_per_tok: 1 };
  const sizeOf = async (head_dim: null | undefined) =>
    attentionsOf(await loadConfig(await withConfig({ ...sizes, head_dim })))[0].headSize;
  expect([await sizeOf(undefined), await sizeOf(null)]).toEqual([64, 8]);
});

test("a window that is null is none", async () => {
  const changes = { model_type: "qwen2", use_sliding_window: true, max_window_layers: 0, sliding_window: null };
  const attentions = attentionsOf(await loadConfig(await withConfig(changes)));
  expect(attentions.map(({ window }) => window)).toEqual(attentions.map(() => Infinity));
});

test("SmolLM3's windows are those of layer_types, whatever use_sliding_window says", async () => {
  const layer_types = [
    "sliding_attention",
    "full_attention",
    "sliding_attention",
    "sliding_attention",
    "full_attention",
  ];
  const windows = async (changes: object) => {
    const config = await loadConfig(await withConfig({ model_type: "smollm3", sliding_window: 7, ...changes }));
    return attentionsOf(config).map(({ window }) => window);
  };
  expect(await windows({ layer_types, use_sliding_window: false })).toEqual([7, Infinity, 7, 7, Infinity]);
  expect(await windows({ use_sliding_window: true })).toEqual([Infinity, Infinity, Infinity, 7, Infinity]);
  expect(await windows({})).toEqual(layer_types.map(() => Infinity));
});

test("without windows Cohere 2 has no ropes", async () => {
  const changes = { model_type: "cohere2", sliding_window: null };
  const config = await loadConfig(await withConfig(changes));
  expect(attentionsOf(config).map(({ rope }) => config.ropes[rope ?? NaN]?.scaling.kind)).toEqual(
    config.layers.map(() => "none"),
  );
});
