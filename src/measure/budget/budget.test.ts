import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { refusalOf } from "../../files/testing/folder.ts";
import { isAdapterMethod, METHODS } from "../../adapters/methods.ts";
import { loadConfigs } from "../../models/decoder/architectures/index.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { planBudget } from "./budget.ts";
import { plannedModel } from "./planned-model.ts";

/** Public numbers of the architectures (their config.json on the Hub). */
const QWEN2_HALF_B = {
  model_type: "qwen2",
  hidden_size: 896,
  intermediate_size: 4864,
  num_hidden_layers: 24,
  num_attention_heads: 14,
  num_key_value_heads: 2,
  vocab_size: 151936,
  tie_word_embeddings: true,
  torch_dtype: "bfloat16",
};
const LLAMA_3_8B = {
  model_type: "llama",
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  vocab_size: 128256,
  torch_dtype: "bfloat16",
};
const FIVE = { targets: ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"], layers: [] };

async function modelOf(json: object) {
  await using folder = await TemporaryFolder.create();
  await Bun.write(folder.at("config.json"), JSON.stringify(json));
  const { config, json: written } = await loadConfigs(folder.path);
  return plannedModel(config, written, "it");
}

/** Millions with two places, as papers have them. */
const millions = (count: number) => (count / 1e6).toFixed(2);

describe("counts that were published", () => {
  test.each<[string, object, number]>([
    ["Qwen2-0.5B", QWEN2_HALF_B, 494_032_768],
    ["Llama-3-8B", LLAMA_3_8B, 8_030_261_248],
  ])("%s has its parameters, in two bytes each", async (_, json, parameters) => {
    const model = await modelOf(json);
    expect([model.parameters, model.bytes]).toEqual([parameters, 2 * parameters]);
  });

  // The paper's table: RandLoRA beside LoRA with as many parameters, on q, k, v, up and down.
  test.each<[object, string, number, string]>([
    [QWEN2_HALF_B, "lora", 16, "5.90"],
    [QWEN2_HALF_B, "lora", 32, "11.80"],
    [QWEN2_HALF_B, "randlora", 10, "5.96"],
    [QWEN2_HALF_B, "randlora", 6, "9.88"],
    [LLAMA_3_8B, "lora", 16, "28.31"],
    [LLAMA_3_8B, "lora", 32, "56.62"],
    [LLAMA_3_8B, "lora", 64, "113.25"],
    [LLAMA_3_8B, "randlora", 60, "28.78"],
    [LLAMA_3_8B, "randlora", 30, "56.63"],
    [LLAMA_3_8B, "randlora", 15, "112.72"],
  ])("%# %s of rank %d: %s million", async (json, method, size, parameters) => {
    const model = await modelOf(json);
    const budget = planBudget(model, { method, size }, FIVE);
    expect(millions(budget.parameters)).toBe(parameters);
    const own = budget.methods.find(({ name }) => name === method);
    // The size that was named is found again.
    expect(own).toMatchObject({ size: { value: size }, parameters: budget.parameters, distance: 0 });
    expect(own?.bytes).toBe(model.bytes + 16 * budget.parameters);
  });
});

const SMALL = {
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  vocab_size: 20,
};

test.each(["mixtral", "qwen3_moe", "granitemoe", "gpt_oss", "gemma4_text"])(
  "a step of %s goes through the experts that its tokens choose, however files have them",
  async (model_type) => {
    const count = { num_local_experts: 8, num_experts: 8, moe_intermediate_size: 48 };
    const gemma4 = { enable_moe_block: true, hidden_size_per_layer_input: 0 };
    const flopsOf = async (chosen: number) => {
      const among = { ...count, ...gemma4, num_experts_per_tok: chosen, top_k_experts: chosen };
      const model = await modelOf({ model_type, ...SMALL, ...among });
      const { methods } = planBudget(model, { parameters: 1000 }, { targets: ["q_proj"], layers: [] });
      return methods.find(({ name }) => name === "full")?.flops ?? NaN;
    };
    // Three products of 1024 rows for each of two layers, three matrices and six experts more.
    expect((await flopsOf(8)) - (await flopsOf(2))).toBe(2 * 3 * 1024 * (2 * 3 * 6 * 32 * 48));
  },
);

test("numbers of Gemma 4's layers are stored, and trained by no method", async () => {
  const model = await modelOf({ model_type: "gemma4_text", ...SMALL, hidden_size_per_layer_input: 0 });
  expect(model.parameters - model.trained).toBe(2);
});

test("every method is there, at a size that it can have; whole models at all their weights", async () => {
  const model = await modelOf(QWEN2_HALF_B);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10 ** 10 }), (parameters) => {
      const { methods, modules } = planBudget(model, { parameters }, FIVE);
      expect(methods.map(({ name }) => name)).toEqual(METHODS.map(({ name }) => name));
      expect(modules).toBe(24 * 5);
      for (const [at, found] of methods.entries()) {
        const method = METHODS[at];
        expect(found.distance).toBeCloseTo(found.parameters / parameters - 1, 12);
        if (method === undefined || !isAdapterMethod(method)) expect(found.parameters).toBe(model.parameters);
        else expect(found.size?.value).toBeGreaterThanOrEqual(1);
      }
    }),
    { numRuns: 20 },
  );
});

describe("refused with a hint", () => {
  test.each<[Parameters<typeof planBudget>[1], string]>([
    [{ method: "lorra", size: 8 }, "--like lorra:8: no such method"],
    [{ method: "lora", size: undefined }, "--like lora: how large?"],
    [{ method: "lora", size: 10_000 }, "--like lora:10000: its rank is at most 896"],
    [{ method: "full", size: 8 }, "--like full:8: it trains all weights"],
  ])("%j", async (wish, message) => {
    const model = await modelOf(QWEN2_HALF_B);
    const refusal = await refusalOf(() => planBudget(model, wish, FIVE));
    expect([refusal.code, refusal.message]).toEqual(["usage", expect.stringContaining(message)]);
    expect(refusal.hint).not.toBe("");
  });

  test.each([
    ["lora", "rank: --like lora:8"],
    ["nola", "bases: --like nola:1024"],
  ])("%s without a size: the usual one is named", async (method, hint) => {
    const model = await modelOf(QWEN2_HALF_B);
    const refusal = await refusalOf(() => planBudget(model, { method, size: undefined }, FIVE));
    expect(refusal.hint).toBe(`say its ${hint}`);
  });

  test("targets that match nothing", async () => {
    const model = await modelOf(QWEN2_HALF_B);
    const refusal = await refusalOf(() => planBudget(model, { parameters: 1 }, { targets: ["q"], layers: [] }));
    expect(refusal.message).toContain("no linear layer of it matches");
  });
});
