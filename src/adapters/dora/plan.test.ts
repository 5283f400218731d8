import { describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { JsonNumber } from "../../files/lossless-json.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { methodOfAdapter, planAdapter } from "../methods.ts";
import { openPeft } from "../formats/peft.ts";
import { baseOf, f32, numbers, parameters, type TestTensor, writeFolder } from "../testing/adapters.ts";
import { convert, everything } from "../testing/convert.ts";
import type { TestLora } from "../testing/lora.ts";
import { UNREAD } from "../testing/weights.ts";
import { type DoraChanges, magnitudeTensors, writeDora } from "../testing/magnitudes.ts";

const Q = "model.layers.0.q_proj";
const UP = "model.layers.0.up_proj";
const LORA: TestLora = { r: 3, alpha: 6, seed: 1, modules: { [Q]: [8, 8], [UP]: [12, 8] }, ranks: { [UP]: 5 } };
const base = baseOf({ [`${Q}.weight`]: [8, 8], [`${UP}.weight`]: [12, 8], "model.norm.weight": [8] });
const name = `base_model.model.${Q}.lora_magnitude_vector`;

async function plan(more: DoraChanges) {
  await using folder = await TemporaryFolder.create();
  await using adapter = await openPeft(await writeDora(join(folder.path, "a"), LORA, more));
  return { method: methodOfAdapter(adapter).name, made: planAdapter(adapter, base, { generator: "philox-v1" }) };
}

test("use_dora tells it from a LoRA; it depends on W, is rounded once and has no bases", async () => {
  const { method, made } = await plan({});
  expect(method).toBe("dora");
  expect(made.layers.map(({ module, out }) => [module, out])).toEqual([
    [Q, 8],
    [UP, 12],
  ]);
  expect([made.rescales, made.roundsDelta, made.bases]).toEqual([true, false, "none"]);
  expect(made.notes).toEqual([expect.stringContaining("is a DoRA, which has no random bases")]);
});

test("a magnitude is found by PEFT's name for it, and by that of the module's parameter", async () => {
  expect((await plan({ vector: "lora_magnitude_vector.weight" })).made.layers).toHaveLength(2);
});

describe("refused with the reason and a hint", () => {
  test.each<[string, DoraChanges, string, string]>([
    ["none of a module", { without: name }, "format", `"${Q}.lora_magnitude_vector" is missing`],
    [
      "of a stranger",
      { tensors: magnitudeTensors({ "model.layers.0.o_proj": [8, 8] }, "lora_magnitude_vector") },
      "format",
      "is of no adapted module",
    ],
    [
      "one there twice",
      { tensors: magnitudeTensors({ [Q]: [8, 8] }, "lora_magnitude_vector.weight") },
      "format",
      "is there twice, with .weight and without",
    ],
    ["another shape", { tensors: { [name]: numbers([9]) } }, "adapter", "has shape [9], not [8]"],
    ["a matrix", { tensors: { [name]: numbers([1, 8]) } }, "adapter", "has shape [1, 8], not [8]"],
    ["integers", { tensors: { [name]: { dtype: "I32", shape: [8], data: new Uint8Array(32) } } }, "adapter", "is I32"],
    ["a magnitude without the setting", { config: { use_dora: false } }, "adapter", "is DoRA's"],
    ["a setting that is none", { config: { use_dora: "yes" } }, "format", '"use_dora" is "yes"'],
    ["another variant beside it", { config: { use_qalora: true } }, "adapter", '"use_qalora" is set'],
    [
      "RandLoRA's",
      { tensors: magnitudeTensors(LORA.modules, "randlora_magnitude_vector") },
      "adapter",
      "belongs to no adapted",
    ],
  ])("%s", async (_, given, code, message) => {
    const refusal = await refusalOf(() => plan(given));
    expect([refusal.code, refusal.message]).toEqual([code, expect.stringContaining(message)]);
    expect(refusal.message).not.toContain("\n");
    expect(refusal.hint).not.toBe("");
  });

  test("numbers that are not finite, when they are read", async () => {
    await using folder = await TemporaryFolder.create();
    const tensors = { [name]: f32([8], new Float32Array(8).fill(NaN)) };
    await using adapter = await openPeft(await writeDora(join(folder.path, "a"), LORA, { tensors }));
    const source = await planAdapter(adapter, base).load();
    const refusal = await refusalOf(() => source.reference(0, 1, { rows: [0], cols: [0] }, UNREAD));
    expect([refusal.code, refusal.message]).toEqual([
      "numeric",
      expect.stringContaining('magnitude_vector" holds NaN'),
    ]);
  });
});

test("RandLoRA's magnitudes belong to a type of their own, which must have them", async () => {
  await using folder = await TemporaryFolder.create();
  const on = baseOf({ "m.q.weight": [8, 8] });
  const config = { r: 3, randlora_alpha: 60, target_modules: ["q"], sparse: true };
  const own = parameters(3, { "m.q": 8 });
  const vectors = magnitudeTensors({ "m.q": [8, 8] }, "randlora_magnitude_vector");
  const open = async (type: string, tensors: Readonly<Record<string, TestTensor>>) =>
    openPeft(await writeFolder(join(folder.path, type), { ...config, peft_type: type }, tensors));
  // Nothing is recorded of the pairing, which either type of bases may have.
  const drawn = { generator: "torch-mt19937-ternary", dtype: "f32", pairing: "peft" } as const;
  await using whole = await open("RANDLORA_DORA", { ...own, ...vectors });
  expect(planAdapter(whole, on, { drawn })).toMatchObject({ rescales: true, roundsDelta: false });
  await using without = await open("RANDLORA_DORA", own);
  expect((await refusalOf(() => planAdapter(without, on, { drawn }))).message).toContain(
    '"m.q.randlora_magnitude_vector" is missing',
  );
  await using plain = await open("RANDLORA", { ...own, ...vectors });
  expect((await refusalOf(() => planAdapter(plain, on))).message).toContain("belongs to no adapted or saved module");
});

test("PEFT → adapter.json → PEFT loses nothing", async () => {
  await using folder = await TemporaryFolder.create();
  const [json, back] = [join(folder.path, "a.json"), join(folder.path, "back")];
  const config = { lora_alpha: new JsonNumber("6.0"), from_the_future: {}, use_rslora: true };
  const from = await writeDora(join(folder.path, "a"), LORA, { config });
  expect(await convert(from, { to: "json", out: json })).toMatchObject({ tensors: 6, projections: false });
  await convert(json, { to: "peft", out: back });
  expect(await everything(back)).toEqual(await everything(from));
  expect(await readFile(join(back, "README.md"), "utf8")).toContain("# DoRA adapter");
});
