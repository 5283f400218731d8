import { describe, expect, test } from "bun:test";
import { rm, truncate, writeFile } from "node:fs/promises";
import { numbers, parameters, writeFolder, safetensorsBytes } from "../../adapters/testing/adapters.ts";
import { convert } from "../../adapters/testing/convert.ts";
import { type TestLora, writeLora } from "../../adapters/testing/lora.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { createStyle } from "../../terminal/style.ts";
import { adapterText, inspectAdapter } from "./inspect-adapter.ts";
import { openModel, openNamedBase } from "../../adapters/base/named-base.ts";

const MODULES = { "model.layers.0.q": 8, "model.layers.1.q": 8 };
const LORA: TestLora = { r: 3, alpha: 6, seed: 1, modules: { "model.layers.0.q": [8, 8], "model.layers.1.q": [8, 8] } };
const alone = async () => undefined;

/** λ (3, 3) and γ (3, 8) of two modules, and a pair of bases. */
async function randlora(folder: TemporaryFolder, config: JsonObject = {}): Promise<string> {
  const own = { peft_type: "RANDLORA", r: 3, randlora_alpha: 60, projection_prng_key: 5, target_modules: ["q"] };
  const pair = { "base_model.randlora_A": numbers([3, 1, 8]), "base_model.randlora_B": numbers([8, 3, 3]) };
  return await writeFolder(folder.at("a"), { ...own, ...config }, { ...parameters(3, MODULES), ...pair });
}

test("what is trained, by kind and by layer, and the bases beside it", async () => {
  await using folder = await TemporaryFolder.create();
  const report = await inspectAdapter(await randlora(folder, { base_model_name_or_path: "org/base" }), alone);
  expect(report).toMatchObject({
    format: "peft",
    peftType: "RANDLORA",
    method: { name: "randlora" },
    rank: 3,
    alpha: 60,
    targets: ["q"],
    base: "org/base",
    bases: { origin: "saved", generator: undefined, seed: "5" },
    shared: { tensors: 2, bytes: 4 * (3 * 8 + 8 * 9) },
    problems: [],
  });
  expect(report.trained).toEqual({
    tensors: 4,
    parameters: 2 * (9 + 24),
    bytes: 4 * 2 * (9 + 24),
    groups: [
      { name: "model.layers.*.q.randlora_lambda", dtype: "F32", shape: [3, 3], tensors: 2, parameters: 18, bytes: 72 },
      { name: "model.layers.*.q.randlora_gamma", dtype: "F32", shape: [3, 8], tensors: 2, parameters: 48, bytes: 192 },
    ],
    layers: [
      { layer: 0, parameters: 33 },
      { layer: 1, parameters: 33 },
    ],
    dtypes: { F32: { parameters: 66, bytes: 264 } },
  });
});

test("bases that PEFT stored once for each module are counted once, and told", async () => {
  await using folder = await TemporaryFolder.create();
  const path = await randlora(folder);
  const once = await inspectAdapter(path, alone);
  const config = await Bun.file(`${path}/adapter_config.json`).json();
  const bases = (module: string) => ({
    [`base_model.model.${module}.randlora_A`]: numbers([3, 1, 8]),
    [`base_model.model.${module}.randlora_B`]: numbers([8, 3, 3]),
  });
  const copies = Object.assign({}, ...Object.keys(MODULES).map(bases));
  const often = await inspectAdapter(
    await writeFolder(folder.at("b"), config, { ...parameters(3, MODULES), ...copies }),
    alone,
  );
  expect([once.copies, often.copies, often.shared]).toEqual([1, 2, once.shared]);
  const page = { columns: 200, style: createStyle({ write: () => {} }, {}) };
  expect(adapterText(often, page)).toContain("stores the bases 2 times: randlora convert --to peft stores them once");
  expect(adapterText(once, page)).not.toContain("times");
});

test("an adapter.json says the same as the PEFT folder that it was made of", async () => {
  await using folder = await TemporaryFolder.create();
  const from = await writeLora(folder.at("a"), LORA);
  await convert(from, { to: "json", out: folder.at("a.json") });
  const [peft, json] = [await inspectAdapter(from, alone), await inspectAdapter(folder.at("a.json"), alone)];
  expect(json).toEqual({ ...peft, path: folder.at("a.json"), format: "json" });
  expect(peft).toMatchObject({ rank: 3, alpha: 6, bases: { origin: "none" }, trained: { parameters: 96 } });
});

test("the base that it names, or another, says whether it fits", async () => {
  await using folder = await TemporaryFolder.create();
  const weights = { "model.layers.0.q.weight": numbers([8, 8]), "model.layers.1.q.weight": numbers([8, 8]) };
  await writeFile(folder.at("model.safetensors"), safetensorsBytes(weights));
  const file = folder.at("model.safetensors");
  const config = { base_model_name_or_path: file, sparse: true };
  const path = await randlora(folder, config);
  const named = await inspectAdapter(path, (name) => openNamedBase(path, name));
  expect(named).toMatchObject({ fit: { base: file, modules: 2, replaced: [] }, problems: [] });
  await writeFile(folder.at("other.safetensors"), safetensorsBytes({ "model.layers.0.q.weight": numbers([8, 9]) }));
  const other = await inspectAdapter(path, () => openModel(folder.at("other.safetensors"), "other"));
  expect(other.fit).toBeUndefined();
  expect(other.problems.map(({ message }) => message)).toEqual([expect.stringContaining("is not in other")]);
  // What it names and is not there is not looked for any further.
  await rm(file);
  expect(await inspectAdapter(path, (name) => openNamedBase(path, name))).toMatchObject({ problems: [] });
});

describe("what cannot be applied is shown as far as its files say", () => {
  test.each<[string, JsonObject, string, object]>([
    ["a method that is not known", { peft_type: "IA3", r: 7 }, 'peft_type "IA3"', { method: undefined, rank: 7 }],
    ["a variant", { init_lora_weights: "pissa" }, "pissa", { method: { name: "lora" }, rank: 3, alpha: 6 }],
    ["a setting that makes no sense", { lora_alpha: "x" }, '"lora_alpha"', { rank: 3, alpha: undefined }],
  ])("%s", async (_, config, message, shown) => {
    await using folder = await TemporaryFolder.create();
    const report = await inspectAdapter(await writeLora(folder.at("a"), LORA, { config }), alone);
    expect(report).toMatchObject({ ...shown, targets: Object.keys(LORA.modules), trained: { parameters: 96 } });
    expect(report.problems.map((problem) => problem.message)).toEqual([expect.stringContaining(message)]);
  });

  test.each<[string, (path: string) => Promise<void>, string]>([
    ["weights that are missing", (path) => rm(path), "no such file"],
    ["weights that are cut off", (path) => truncate(path, 300), "adapter_model.safetensors"],
    ["weights that are no safetensors file", (path) => writeFile(path, "x"), "too short"],
    [
      "a header that claims more than the file holds",
      (path) => {
        const claim = { a: { dtype: "F32", shape: [2 ** 40, 2], data_offsets: [0, 2 ** 43] } };
        const json = Buffer.from(JSON.stringify(claim));
        const length = Buffer.alloc(8);
        length.writeBigUInt64LE(BigInt(json.length));
        return writeFile(path, Buffer.concat([length, json]));
      },
      "adapter_model.safetensors",
    ],
  ])("%s", async (_, harm, message) => {
    await using folder = await TemporaryFolder.create();
    const path = await writeLora(folder.at("a"), LORA);
    await harm(folder.at("a", "adapter_model.safetensors"));
    const report = await inspectAdapter(path, alone);
    expect(report).toMatchObject({ method: { name: "lora" }, rank: 3, alpha: 6, trained: undefined });
    expect(report.problems.map((problem) => problem.message)).toEqual([expect.stringContaining(message)]);
  });

  test("a configuration that is no JSON is all that there was", async () => {
    await using folder = await TemporaryFolder.create();
    await writeLora(folder.at("a"), LORA);
    await writeFile(folder.at("a", "adapter_config.json"), "{");
    const refusal = await refusalOf(() => inspectAdapter(folder.at("a"), alone));
    expect([refusal.code, refusal.message]).toEqual(["format", expect.stringContaining("not JSON")]);
  });
});
