// The text decoder of a model of several parts: how its files name it, and what is left of the other parts.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import { isOfOtherPart } from "../config.ts";
import { dividedExperts, plannedMatrices, storedDecoder } from "../weight-plan.ts";
import { loadConfig } from "./index.ts";

const TEXT = { vocab_size: 20, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 4 };

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
});
afterAll(() => folder[Symbol.asyncDispose]());

async function configOf(json: object, tensors?: readonly string[]) {
  await Bun.write(folder.at("config.json"), JSON.stringify({ model_type: "gemma3", ...json }));
  const config = await loadConfig(folder.path);
  return tensors === undefined ? config : storedDecoder(config, new Map(tensors.map((name) => [name, null])));
}

const names = (config: Awaited<ReturnType<typeof configOf>>) =>
  plannedMatrices(config).flatMap(({ parts }) => parts.map(({ name }) => name));

describe("a checkpoint's names", () => {
  test.each([
    ["language_model.model.", "language_model.lm_head.weight"],
    ["model.language_model.", "lm_head.weight"],
  ])("begin with %s, its output matrix is %s", async (below, head) => {
    const described = await configOf({ text_config: TEXT });
    const body = names(described).map((name) => name.replace("language_model.model.", below));
    expect(new Set(body.map((name) => name.startsWith(below)))).toEqual(new Set([true]));
    const stored = (json: object, tensors: readonly string[]) => configOf({ text_config: TEXT, ...json }, tensors);
    expect(names(await stored({}, body))).toEqual(body);
    // One that is there is used, as transformers does, whatever config.json says.
    expect(names(await stored({ tie_word_embeddings: true }, [...body, head]))).toEqual([...body, head]);
    expect(names(await stored({ tie_word_embeddings: false }, [...body, head]))).toEqual([...body, head]);
  });

  test("of other parts are told from those that belong to none", async () => {
    const config = await configOf({ text_config: TEXT });
    const parts = ["vision_tower.x", "model.vision_tower.x", "multi_modal_projector.y", "model.norm", "score.weight"];
    expect(parts.map((name) => isOfOtherPart(config, name))).toEqual([true, true, true, false, false]);
  });
});

describe("config.json", () => {
  test("has the decoder's settings in text_config, and its own for the model", async () => {
    const text = { ...TEXT, eos_token_id: 3, max_position_embeddings: 77 };
    const config = await configOf({ text_config: text, eos_token_id: [1, 106] });
    expect([config.architecture, config.hiddenSize, config.contextLength]).toEqual(["gemma3", 32, 77]);
    expect([config.endTokens, (await configOf({ text_config: text })).endTokens]).toEqual([[1, 106], [3]]);
  });

  test("leaves out what is usual: Gemma 3 4B's as it is published", async () => {
    const sizes = { hidden_size: 2560, intermediate_size: 10_240, num_hidden_layers: 34, sliding_window: 1024 };
    const rope = { rope_scaling: { factor: 8, rope_type: "linear" } };
    const config = await configOf({ text_config: { model_type: "gemma3_text", ...sizes, ...rope } });
    const tensors = new Map(
      plannedMatrices(config).flatMap(({ parts }) => parts.map(({ name, stored }) => [name, stored])),
    );
    expect(tensors.get("language_model.model.embed_tokens.weight")).toEqual([262_208, 2560]);
    expect(tensors.get("language_model.model.layers.33.self_attn.k_proj.weight")).toEqual([1024, 2560]);
    const parameters = [...tensors.values()].reduce(
      (sum, shape) => sum + shape.reduce((all, size) => all * size, 1),
      0,
    );
    expect(parameters).toBe(3_880_263_168);
  });

  test("caps no logits, which transformers does for the text model alone", async () => {
    const config = await configOf({ text_config: { ...TEXT, final_logit_softcapping: 3 } });
    expect(config.logitSoftcap).toBeUndefined();
    await Bun.write(
      folder.at("config.json"),
      JSON.stringify({ ...TEXT, model_type: "gemma3_text", final_logit_softcapping: 3 }),
    );
    expect((await loadConfig(folder.path)).logitSoftcap).toBe(3);
  });

  test("is refused with a text decoder of another kind", async () => {
    const refusal = await refusalOf(() => configOf({ text_config: { ...TEXT, model_type: "mamba" } }));
    expect([refusal.code, refusal.message]).toEqual([
      "model",
      expect.stringContaining('a text decoder of type "mamba" is not supported'),
    ]);
  });
});

test("Qwen2.5-VL as it is published: settings beside those of images, names without a beginning, a rope of three positions", async () => {
  const rope_scaling = { type: "mrope", mrope_section: [16, 24, 24] };
  const sizes = { ...TEXT, num_key_value_heads: 4 };
  const json = { ...sizes, model_type: "qwen2_5_vl", rope_scaling, vision_config: { depth: 32 } };
  const bare = ["model.layers.0.self_attn.q_proj.weight", "visual.blocks.0.attn.qkv.weight"];
  const config = await configOf(json, bare);
  expect(names(config)).toContain("model.layers.0.self_attn.q_proj.weight");
  expect(config.ropes.map(({ scaling }) => scaling.kind)).toEqual(["default"]);
  expect(bare.map((name) => isOfOtherPart(config, name))).toEqual([false, true]);
  const begun = await configOf(json, ["model.language_model.layers.0.self_attn.q_proj.weight"]);
  expect(names(begun)).toContain("model.language_model.layers.0.self_attn.v_proj.weight");
});

test.each([
  ["transposed, as published", [64, 32], [16, 64], ["gate_up_proj.weight", [64, 32]]],
  ["as transformers 5 saves them", [32, 64], [64, 16], ["gate_proj.weight", [16, 64]]],
] as const)("Qwen3-VL MoE's experts are read %s", async (_, gateUp, down, [module, shape]) => {
  const sizes = {
    ...TEXT,
    hidden_size: 64,
    num_experts: 2,
    num_experts_per_tok: 1,
    num_key_value_heads: 4,
    moe_intermediate_size: 16,
    num_hidden_layers: 1,
  };
  const config = await configOf({ model_type: "qwen3_vl_moe", text_config: sizes });
  const path = "model.language_model.layers.0.mlp.experts";
  const tensors = [{ name: `${path}.gate_up_proj`, shape: [2, ...gateUp] }];
  const divided = dividedExperts(config, [...tensors, { name: `${path}.down_proj`, shape: [2, ...down] }]);
  const [part] = divided.get(`${path}.gate_up_proj`) ?? [];
  expect(part).toEqual({ name: `${path}.0.${module}`, shape: [...shape] });
  const others = names(config).filter((name) => !name.includes(".experts."));
  const stored = [...others, ...[...divided.values()].flat().map(({ name }) => name)].map(
    (name) => [name.replace("language_model.model.", "model.language_model."), null] as const,
  );
  expect(names(storedDecoder(config, new Map(stored)))).toContain(`${path}.1.${module}`);
});
