import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { baseOf, numbers, type TestTensor } from "../testing/adapters.ts";
import type { BaseModel } from "../base/base.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { openPeft } from "../formats/peft.ts";
import { planAdapter } from "../methods.ts";
import { type TestLora, writeLora } from "../testing/lora.ts";
import { TemporaryFolder, refusalOf } from "../../files/testing/folder.ts";

const Q = "model.layers.0.q_proj";
const UP = "model.layers.0.up_proj";
const LORA: TestLora = { r: 3, alpha: 6, seed: 1, modules: { [Q]: [8, 8], [UP]: [12, 8] } };
const base = baseOf({
  "model.embed_tokens.weight": [64, 8],
  [`${Q}.weight`]: [8, 8],
  [`${Q}.bias`]: [8],
  [`${UP}.weight`]: [12, 8],
  "model.norm.weight": [8],
});

interface Case {
  readonly lora?: TestLora;
  readonly config?: JsonObject;
  readonly tensors?: Readonly<Record<string, TestTensor>>;
  readonly on?: BaseModel;
  readonly generator?: "philox-v1";
}

async function plan({ lora = LORA, on = base, generator, ...more }: Case) {
  await using folder = await TemporaryFolder.create();
  await using adapter = await openPeft(await writeLora(join(folder.path, "a"), lora, more));
  return planAdapter(adapter, on, { generator });
}

test("layers with their shapes, and what else the file replaces", async () => {
  const tensors = {
    "base_model.model.model.norm.weight": numbers([8]),
    [`base_model.model.${Q}.base_layer.bias`]: numbers([8]),
  };
  const made = await plan({ config: { bias: "lora_only", modules_to_save: ["norm"] }, tensors });
  expect(made.layers.map(({ module, out, in: input, conv1d }) => [module, out, input, conv1d])).toEqual([
    [Q, 8, 8, false],
    [UP, 12, 8, false],
  ]);
  expect(made.replacements.map(({ tensor }) => tensor)).toEqual(["model.norm.weight", `${Q}.bias`]);
  expect([made.bases, made.roundsDelta, made.notes]).toEqual(["none", false, []]);
});

test("Conv1D, a base without its head's prefix, a tied head", async () => {
  const gpt = baseOf({ "h.0.attn.c_attn.weight": [8, 24] }, { model_type: "gpt2" });
  const attention = { ...LORA, modules: { "transformer.h.0.attn.c_attn": [24, 8] } } as const;
  const [layer] = (await plan({ lora: attention, on: gpt })).layers;
  expect(layer).toMatchObject({ tensor: "h.0.attn.c_attn.weight", out: 24, in: 8, conv1d: true });
  const head = { ...LORA, modules: { lm_head: [64, 8] } } as const;
  const [tied] = (await plan({ lora: head })).layers;
  expect(tied).toMatchObject({ tensor: "lm_head.weight", source: "model.embed_tokens.weight" });
});

test("settings without targets say nothing on a model of no known type", async () => {
  const shapes = Object.fromEntries([...base.tensors].map(([name, { shape }]) => [name, shape]));
  const made = await plan({ config: { target_modules: null }, on: baseOf(shapes, { model_type: "my_own" }) });
  expect(made.layers).toHaveLength(2);
});

test("--generator means nothing to it, and says so", async () => {
  const [note] = (await plan({ generator: "philox-v1" })).notes;
  expect(note).toContain("is a LoRA, which has no random bases: --generator has no effect");
});

describe("refused with the reason and a hint", () => {
  test.each<[string, Case, string, string]>([
    [
      "DoRA without its setting",
      { tensors: { [`base_model.model.${Q}.lora_magnitude_vector`]: numbers([8]) } },
      "adapter",
      "is DoRA's",
    ],
    [
      "an embedding",
      { tensors: { "base_model.model.model.embed_tokens.lora_embedding_A": numbers([3, 64]) } },
      "adapter",
      "adapts an embedding",
    ],
    [
      "a bias of B",
      { tensors: { [`base_model.model.${Q}.lora_B.bias`]: numbers([8]) } },
      "adapter",
      "bias of LoRA's own",
    ],
  ])("%s", async (_, given, code, message) => {
    const refusal = await refusalOf(() => plan(given));
    expect([refusal.code, refusal.message]).toEqual([code, expect.stringContaining(message)]);
    expect(refusal.message).not.toContain("\n");
    expect(refusal.hint).not.toBe("");
  });
});
