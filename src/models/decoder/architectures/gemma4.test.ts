import { afterAll, beforeAll, expect, test } from "bun:test";
import { expertParameters } from "../../../adapters/base/experts.ts";
import type { RandloraError } from "../../../files/errors.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { attentionsOf, type DecoderConfig, isOfOtherPart, keysOf } from "../config.ts";
import { outputsOf } from "../../blocks/block.ts";
import { isTrained } from "../../tensor-plan.ts";
import { dividedExperts, plannedMatrices } from "../weight-plan.ts";
import { loadConfig } from "./index.ts";

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
});
afterAll(() => folder[Symbol.asyncDispose]());

const TEXT = {
  model_type: "gemma4_text",
  vocab_size: 20,
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 7,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  hidden_size_per_layer_input: 0,
};

const EXPERTS = { enable_moe_block: true, num_experts: 8, top_k_experts: 2, moe_intermediate_size: 16 };

async function configOf(settings: object): Promise<DecoderConfig> {
  await Bun.write(folder.at("config.json"), JSON.stringify({ ...TEXT, ...settings }));
  return await loadConfig(folder.path);
}

const headsOf = (config: DecoderConfig) =>
  attentionsOf(config).map(({ headSize, kvHeads, window }) => [headSize, kvHeads, window]);

test("layers that see all tokens, every sixth and the last, have wider heads, and shared ones where values are keys", async () => {
  const sliding = [256, 2, 512];
  const usual = headsOf(await configOf({ num_global_key_value_heads: 1 }));
  expect(usual).toEqual([sliding, sliding, sliding, sliding, sliding, [512, 2, Infinity], [512, 2, Infinity]]);
  const config = await configOf({ num_global_key_value_heads: 1, attention_k_eq_v: true });
  expect(headsOf(config).slice(-2)).toEqual([
    [512, 1, Infinity],
    [512, 1, Infinity],
  ]);
  const names = plannedMatrices(config).flatMap(({ parts }) => parts.map(({ name }) => name));
  const values = names.filter((name) => name.endsWith("v_proj.weight"));
  expect(values).toEqual([0, 1, 2, 3, 4].map((layer) => `model.layers.${layer}.self_attn.v_proj.weight`));
});

test("the last layers have the keys of the last one before them of their type, and perhaps a wider MLP", async () => {
  const shared = { num_kv_shared_layers: 4, use_double_wide_mlp: true };
  const types = [1, 0, 1, 1, 1, 0, 1].map((slides) => (slides === 1 ? "sliding_attention" : "full_attention"));
  const config = await configOf({ layer_types: types, ...shared });
  expect(config.layers.map(keysOf)).toEqual([undefined, undefined, undefined, 2, 2, 1, 1]);
  const parts = plannedMatrices(config).flatMap((planned) => planned.parts);
  const sizes = new Map(parts.map(({ name, stored }) => [name, stored]));
  expect([2, 3].map((layer) => sizes.get(`model.layers.${layer}.mlp.up_proj.weight`))).toEqual([
    [64, 32],
    [128, 32],
  ]);
  const made = ["k_proj", "v_proj", "k_norm"].map((name) => `model.layers.3.self_attn.${name}.weight`);
  expect(made.filter((name) => sizes.has(name) || !isOfOtherPart(config, name))).toEqual([]);
  expect(isOfOtherPart(config, "model.layers.2.self_attn.k_proj.weight")).toBe(false);
  // A header may have such a name; looking at each of its beginnings would take minutes.
  expect(isOfOtherPart(config, "a.".repeat(2 ** 20))).toBe(false);
});

test("each layer reads its own columns of what a token has for all, which stay in the file", async () => {
  const config = await configOf({ hidden_size_per_layer_input: undefined });
  const first = config.layers.map((layer) =>
    layer.map(({ mixer }) => (mixer.kind === "layer-input" ? mixer.first : 0)),
  );
  expect(first.map((layer) => layer[2])).toEqual([0, 1, 2, 3, 4, 5, 6].map((layer) => 256 * layer));
  const held = plannedMatrices(config).filter(({ inFile }) => inFile === true);
  expect(held.flatMap(({ parts }) => parts.map(({ stored }) => stored))).toEqual([[262_144, 7 * 256]]);
  expect(held.filter(isTrained)).toEqual([]);
  // What it makes of them is no output of attention or of an MLP.
  expect(outputsOf(config.layers.flat()).length).toBe(2 * 7);
});

test.each(["model.language_model.", "language_model.model."])(
  "experts of a model whose text is in %s are adapted and trained by names that begin so, too",
  async (begin) => {
    const { model_type, ...text } = TEXT;
    const text_config = { model_type, ...text, ...EXPERTS, num_hidden_layers: 1 };
    const config = await configOf({ model_type: "gemma4", text_config });
    const whole = (name: string, shape: readonly number[]) => ({ name: `${begin}layers.0.experts.${name}`, shape });
    const [gateUp, down] = [whole("gate_up_proj", [8, 32, 32]), whole("down_proj", [8, 32, 16])];
    const divided = dividedExperts(config, [gateUp, down]);
    expect(divided.get(gateUp.name)?.slice(1, 3)).toEqual([
      whole("0.up_proj.weight", [16, 32]),
      whole("1.gate_proj.weight", [16, 32]),
    ]);
    expect(divided.get(down.name)?.at(-1)).toEqual(whole("7.down_proj.weight", [32, 16]));
    // However files have them, adapters name what they adapt as transformers does.
    const tensors = new Map(
      [...divided.values()].flat().map(({ name, shape }) => [name, { dtype: "F32", shape }] as const),
    );
    const parameters = expertParameters({ path: "it", tensors, config: undefined });
    expect(parameters.map((one) => [one.module, one.name, one.experts, one.out, one.in])).toEqual([
      ["model.language_model.layers.0.experts", "gate_up_proj", 8, 32, 32],
      ["model.language_model.layers.0.experts", "down_proj", 8, 32, 16],
    ]);
  },
);

test("sizes by the number of a layer, as transformers writes them, go before those of all wide layers", async () => {
  const types = ["sliding_attention", "full_attention", "sliding_attention"];
  const layers = { num_hidden_layers: 3, layer_types: types, head_dim: 16, sliding_window: 9 };
  const own = { head_dim: 32, num_key_value_heads: 1 };
  const config = await configOf({
    ...layers,
    global_head_dim: 64,
    per_layer_config: { 1: own, "02": { head_dim: 32 } },
  });
  expect(headsOf(config)).toEqual([
    [16, 2, 9],
    [32, 1, Infinity],
    [32, 2, Infinity],
  ]);
  expect(config.ropes.map(({ size, scaling }) => [size, scaling])).toEqual([
    [32, { kind: "proportional", factor: 1, pairs: 4 }],
    [16, { kind: "default" }],
  ]);
});

test("the model as it is published caps its logits, and has encoders of images and sounds beside its text", async () => {
  const { model_type, ...text } = TEXT;
  const nested = { text_config: { model_type, ...text, final_logit_softcapping: 3 } };
  const config = await configOf({ ...nested, model_type: "gemma4" });
  expect([config.architecture, config.logitSoftcap]).toEqual(["gemma4", 3]);
  const parts = ["model.vision_tower.x", "model.audio_tower.x", "model.embed_vision.y", "embed_audio.y", "model.z"];
  expect(parts.map((name) => isOfOtherPart(config, name))).toEqual([true, true, true, true, false]);
});

test.each([
  [{ hidden_size_per_layer_input: 8, vocab_size_per_layer_input: 19 }, "19 tokens of 20 have inputs of layers"],
  [{ hidden_size_per_layer_input: 6 }, "inputs of 6 elements for each layer; a multiple of 4 is supported"],
  [{ num_kv_shared_layers: 2 }, "num_kv_shared_layers is 2 of 7 layers: none before them of full_attention"],
  [{ num_kv_shared_layers: 7 }, "num_kv_shared_layers is 7 of 7 layers"],
  [{ num_kv_shared_layers: 9999 }, "num_kv_shared_layers is 9999 of 7 layers"],
  [{ ...EXPERTS, moe_intermediate_size: undefined }, "enable_moe_block without moe_intermediate_size"],
  [{ ...EXPERTS, num_experts: null }, "enable_moe_block without num_experts"],
  [{ ...EXPERTS, num_experts: 0 }, "7 layers of 0 experts, of which a token goes to 2: cannot be"],
  [{ ...EXPERTS, top_k_experts: 9 }, "7 layers of 8 experts, of which a token goes to 9: cannot be"],
  [{ ...EXPERTS, num_experts: 2 ** 31 }, "7 layers of 2147483648 experts: at most 32768 in all"],
  [{ ...EXPERTS, num_experts: 130_000 }, "at most 32768 in all"],
  [{ ...EXPERTS, num_experts: 300, top_k_experts: 300 }, "300 experts for a token: at most"],
  [{ rope_parameters: { rope_type: "default", rope_theta: 10_000 } }, "rope_parameters without full_attention"],
  [{ use_bidirectional_attention: "all" }, "use_bidirectional_attention"],
  [{ per_layer_config: { 5: { head_dim: 32 } } }, "heads of different sizes"],
  [{ global_head_dim: 516 }, "heads of 516 elements; at most 512 are supported"],
])("%j is refused by name", async (settings, message) => {
  const refused = configOf(settings);
  await expect(refused).rejects.toMatchObject({ code: "model" } satisfies Partial<RandloraError>);
  await expect(refused).rejects.toThrow(message);
});
