import { expect, test } from "bun:test";
import { GgufFile } from "../../files/gguf/reader.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { writeArchitecture } from "../../models/testing/architectures.ts";
import { registered, template } from "../../models/testing/template-architecture.ts";
import { writeGgufAdapter } from "./gguf-adapter.ts";
import { openAdapter } from "../formats/open.ts";
import { f32, parameters, type TestTensor, writeFolder } from "../testing/adapters.ts";
import { factorsOf, type TestLora, writeLora } from "../testing/lora.ts";

const GEMMA4 = { hidden_size_per_layer_input: 8, vocab_size_per_layer_input: 20 };
const loraOf = (modules: TestLora["modules"]): TestLora => ({ r: 2, alpha: 4, seed: 5, modules });

/** The factors that llama.cpp is given of a LoRA for a model of this type, by name. */
async function written(
  type: string,
  lora: TestLora,
  settings: object = {},
  config: JsonObject = {},
  tensors: Readonly<Record<string, TestTensor>> = {},
): Promise<Map<string, number[]>> {
  await using folder = await TemporaryFolder.create();
  await writeArchitecture(folder.at("model"), type, 2, settings);
  await using adapter = await openAdapter(await writeLora(folder.at("lora"), lora, { config, tensors }));
  const options = { base: folder.at("model"), outtype: "keep", force: false } as const;
  const { out } = await writeGgufAdapter(adapter, { out: folder.at("x.gguf"), ...options });
  await using file = await GgufFile.open(out);
  const found = new Map<string, number[]>();
  for (const tensor of file.header.tensors.values()) {
    const values = new Float32Array(tensor.bytes / 4);
    await file.read(tensor, new Uint8Array(values.buffer));
    found.set(tensor.name, [...values]);
  }
  return found;
}

test("a module whose rows are in two tensors of the base's file has factors for each", async () => {
  const module = "model.layers.1.shared_mlp.input_linear";
  const lora = loraOf({ [module]: [128, 32] });
  const { a, b } = factorsOf(lora, module);
  const found = await written("granitemoehybrid", lora);
  const wanted = { gate: b.subarray(0, 128), up: b.subarray(128) };
  for (const [name, rows] of Object.entries(wanted)) {
    expect(found.get(`blk.1.ffn_${name}.weight.lora_a`)).toEqual([...a]);
    expect(found.get(`blk.1.ffn_${name}.weight.lora_b`)).toEqual([...rows]);
  }
  expect(found.size).toBe(4);
});

test("a router's weight, which is a parameter in transformers, has factors as a module has", async () => {
  const module = "model.layers.1.mlp.router";
  const lora = loraOf({ [module]: [8, 32] });
  const { a, b } = factorsOf(lora, module);
  const found = await written("gpt_oss", lora, {}, { target_modules: [], target_parameters: ["mlp.router.weight"] });
  expect(found).toEqual(
    new Map([
      ["blk.1.ffn_gate_inp.weight.lora_a", [...a]],
      ["blk.1.ffn_gate_inp.weight.lora_b", [...b]],
    ]),
  );
});

test("columns follow the heads that the base's file has in another order", async () => {
  const module = "model.layers.0.linear_attn.out_proj";
  const lora = loraOf({ [module]: [32, 64] });
  const { a, b } = factorsOf(lora, module);
  const found = await written("qwen3_5_text", lora, { linear_num_value_heads: 8 });
  // Of 8 elements each, four for each of two heads of keys: the first of either, the second of either …
  const row = [0, 4, 1, 5, 2, 6, 3, 7].flatMap((head) => [...a.subarray(8 * head, 8 * head + 8)]);
  expect(found.get("blk.0.ssm_out.weight.lora_a")?.slice(0, 64)).toEqual(row);
  expect(found.get("blk.0.ssm_out.weight.lora_b")).toEqual([...b]);
});

test("one of an expert, of a parameter, of another base, and of an output matrix that the embedding is are refused", async () => {
  const expert = "model.layers.0.block_sparse_moe.experts.1.w1";
  const query = "model.layers.0.self_attn.q_proj";
  using _ = registered(template);
  const ofParameter = { target_parameters: ["experts.down_proj"] };
  const refusals: [string, object, TestLora, RegExp, JsonObject?][] = [
    ["mixtral", {}, loraOf({ [expert]: [64, 32] }), /experts.1.w1" has no place in a GGUF adapter/],
    ["llama", {}, loraOf({ [query]: [48, 32] }), /a \(48, 32\) weight, and the base's is \(32, 32\)/],
    ["template", {}, loraOf({ [expert]: [64, 32] }), /type "template" cannot be written as GGUF/],
    ["template", {}, loraOf({}), /type "template" cannot be written as GGUF/, ofParameter],
    ["granitemoe", {}, loraOf({}), /its target_parameters have no place/, ofParameter],
    ["gemma4_text", GEMMA4, loraOf({ "model.per_layer_model_projection": [16, 32] }), /model_projection" has no place/],
    ["llama", { tie_word_embeddings: true }, loraOf({ lm_head: [20, 32] }), /"lm_head" has no place/],
  ];
  for (const [type, settings, lora, message, config] of refusals) {
    expect((await refusalOf(() => written(type, lora, settings, config))).message).toMatch(message);
  }
});

test("of an adapter of experts a merge is offered, and no LoRA, which has no place in such a file either", async () => {
  await using folder = await TemporaryFolder.create();
  await writeArchitecture(folder.at("model"), "mixtral", 1);
  const hintFor = async (module: string) => {
    const config = { peft_type: "RANDLORA", r: 4 };
    const path = await writeFolder(folder.at(module), config, parameters(4, { [module]: 32 }));
    await using adapter = await openAdapter(path);
    const options = { base: folder.at("model"), outtype: "keep", force: false } as const;
    return (await refusalOf(() => writeGgufAdapter(adapter, { out: folder.at("x.gguf"), ...options }))).hint;
  };
  const ofExpert = await hintFor("model.layers.0.block_sparse_moe.experts.1.w1");
  expect([ofExpert?.includes("randlora merge"), ofExpert?.includes("--to lora")]).toEqual([true, false]);
  expect(await hintFor("model.layers.0.self_attn.q_proj")).toContain("--to lora");
});

test("the base's own output matrix, which PEFT stores beside the factors of it, is passed over", async () => {
  const own = { "base_model.model.lm_head.base_layer.weight": f32([20, 32], new Float32Array(640)) };
  const found = await written("llama", loraOf({ lm_head: [20, 32] }), {}, {}, own);
  expect([...found.keys()].toSorted()).toEqual(["output.weight.lora_a", "output.weight.lora_b"]);
});

test("an alpha of 0 changes nothing: llama.cpp would take it for none", async () => {
  const module = "model.layers.1.shared_mlp.input_linear";
  const found = await written("granitemoehybrid", { ...loraOf({ [module]: [128, 32] }), alpha: 0 });
  const isZero = (name: string) => found.get(`blk.1.ffn_gate.weight.lora_${name}`)?.every((value) => value === 0);
  expect([isZero("a"), isZero("b")]).toEqual([false, true]);
});
