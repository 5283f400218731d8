import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { baseOf, f32, numbers, type TestTensor } from "../testing/adapters.ts";
import type { BaseModel } from "../base/base.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { openPeft } from "../files/peft.ts";
import { planAdapter } from "../methods.ts";
import { loraTensors, type TestLora, writeLora } from "../testing/lora.ts";
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
  readonly without?: string;
  readonly on?: BaseModel;
  readonly generator?: "philox-v1";
}

async function plan({ lora = LORA, on = base, generator, without, ...more }: Case) {
  await using folder = await TemporaryFolder.create();
  const { modules, ...rest } = lora;
  const kept =
    without === undefined ? modules : Object.fromEntries(Object.entries(modules).filter(([m]) => m !== without));
  await using adapter = await openPeft(await writeLora(join(folder.path, "a"), { ...rest, modules: kept }, more));
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

const own = loraTensors(LORA);
const A = `base_model.model.${Q}.lora_A.weight`;
const B = `base_model.model.${Q}.lora_B.weight`;
const lone = (name: string): Case => ({ without: Q, tensors: { [name]: own[name] ?? numbers([1]) } });

describe("refused with the reason and a hint", () => {
  test.each<[string, Case, string, string]>([
    ["no B", lone(A), "format", `"${Q}.lora_A.weight" has no lora_B.weight beside it`],
    ["no A", lone(B), "format", `"${Q}.lora_B.weight" has no lora_A.weight beside it`],
    ["another rank", { config: { r: 4 } }, "adapter", "has shape [3, 8], but [4, 8] follows from"],
    [
      "a rank of B alone",
      { tensors: { [B]: f32([8, 2], new Float32Array(16)) } },
      "adapter",
      `"${Q}.lora_B.weight" has shape [8, 2], but [8, 3] follows from`,
    ],
    [
      "another in",
      { tensors: { [A]: f32([3, 9], new Float32Array(27)) } },
      "adapter",
      `"${Q}.lora_A.weight" has shape [3, 9], but [3, 8] follows from "${Q}.weight" of base with [8, 8] and `,
    ],
    ["a convolution", { tensors: { [A]: numbers([3, 8, 1, 1]) } }, "adapter", "has shape [3, 8, 1, 1]"],
    ["shards", { tensors: { [A]: numbers([0]) } }, "adapter", "has shape [0]"],
    ["integers", { tensors: { [A]: { dtype: "I8", shape: [3, 8], data: new Uint8Array(24) } } }, "adapter", "is I8"],
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
    [
      "a stranger",
      { tensors: { "base_model.model.model.norm.weight": numbers([8]) } },
      "adapter",
      "belongs to no adapted",
    ],
    [
      "a bias, with bias none",
      { tensors: { [`base_model.model.${Q}.bias`]: numbers([8]) } },
      "adapter",
      "belongs to no",
    ],
    [
      "targets that match none of its modules",
      { config: { target_modules: ["gate_proj"] } },
      "adapter",
      `target_modules matches none of its modules, such as "${Q}"`,
    ],
    [
      "targets that miss a module",
      { config: { target_modules: ["up_proj"] } },
      "adapter",
      `it holds "${Q}", which target_modules does not match`,
    ],
    [
      "PEFT's own targets, which miss a module",
      { config: { target_modules: null } },
      "adapter",
      `it holds "${UP}", which target_modules does not match`,
    ],
    [
      "targets that are no regular expression",
      { config: { target_modules: ".*(q_proj" } },
      "adapter",
      'adapter_config.json: regular expression ".*(q_proj": missing )',
    ],
    ["nothing", { lora: { ...LORA, modules: {} } }, "adapter", "no lora_A.weight of any module"],
    ["another model", { lora: { ...LORA, modules: { "x.y": [8, 8] } } }, "adapter", 'module "x.y" is not in base'],
    ["a quantized base", { on: { ...base, config: { quantization_config: {} } } }, "adapter", "the base is quantized"],
    [
      "quantized weights",
      { on: baseOf({ [`${Q}.weight`]: [8, 8], [`${UP}.weight`]: [12, 8] }, {}, "I8") },
      "adapter",
      "is I8",
    ],
  ])("%s", async (_, given, code, message) => {
    const refusal = await refusalOf(() => plan(given));
    expect([refusal.code, refusal.message]).toEqual([code, expect.stringContaining(message)]);
    expect(refusal.message).not.toContain("\n");
    expect(refusal.hint).not.toBe("");
  });
});
