import { expect, test } from "bun:test";
import { join } from "node:path";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { planAdapter } from "../methods.ts";
import { openAdapter } from "../formats/open.ts";
import { baseOf, f32, numbers, parameters, type TestTensor, writeFolder } from "../testing/adapters.ts";
import { UNREAD } from "../testing/weights.ts";
import { convert, drawnPair, everything } from "../testing/convert.ts";
import { loraTensors, type TestLora, writeLora } from "../testing/lora.ts";
import { settingsAsIs } from "../method/fit.ts";
import { hybridTraining, resolveHybrid } from "./method.ts";

const Q = "model.layers.0.q";
const UP = "model.layers.0.up";
const BASE = baseOf({ [`${Q}.weight`]: [8, 8], [`${UP}.weight`]: [12, 8], "model.norm.weight": [8] });
const LORA: TestLora = { r: 2, alpha: 4, seed: 1, modules: { [Q]: [8, 8], [UP]: [12, 8] }, ranks: { [UP]: 3 } };
const CONFIG = {
  peft_type: "RANDLORA_HYBRID",
  r: 3,
  randlora_alpha: 60,
  randlora_variant: "peft",
  init_weights: true,
  sparse: true,
  target_modules: ["q", "up"],
  lora_r: 2,
  lora_alpha: 4,
  rank_pattern: { up: 3 },
};
const TENSORS = { ...parameters(3, { [Q]: 8, [UP]: 8 }), ...loraTensors(LORA) };

interface Case {
  readonly config?: JsonObject;
  readonly tensors?: Readonly<Record<string, TestTensor>>;
  /** Names that are left out. */
  readonly without?: RegExp;
}

/** Opens the adapter as it is, or changed, and fits it to the base. */
async function plan({ config, tensors, without }: Case = {}) {
  await using folder = await TemporaryFolder.create();
  const all = Object.entries({ ...TENSORS, ...tensors }).filter(([name]) => without?.test(name) !== true);
  const path = await writeFolder(join(folder.path, "a"), { ...CONFIG, ...config }, Object.fromEntries(all));
  await using adapter = await openAdapter(path);
  return planAdapter(adapter, BASE);
}

test("each module has both parts; other modules may be saved whole", async () => {
  const saved = { "base_model.model.model.norm.weight": numbers([8]) };
  const made = await plan({ config: { modules_to_save: ["norm"] }, tensors: saved });
  expect(made.layers.map(({ module }) => module)).toEqual([Q, UP]);
  expect(made.replacements.map(({ tensor }) => tensor)).toEqual(["model.norm.weight"]);
  expect([made.bases, made.roundsDelta, made.notes]).toEqual(["torch-mt19937-ternary", false, []]);
});

const lambda = `base_model.model.${UP}.randlora_lambda`;
const factor = `base_model.model.${UP}.lora_A.weight`;

test.each<[string, Case, string]>([
  ["magnitudes", { config: { use_dora: true } }, '"use_dora" is set'],
  ["no B", { without: /q\.lora_B/ }, "has no lora_B.weight beside it"],
  ["no λ", { without: /q\.randlora_lambda/ }, "has no randlora_lambda beside it"],
  ["no LoRA of one module", { without: /up\.lora/ }, `"${UP}" has no LoRA's factors, and has the other part's tensors`],
  ["no RandLoRA of one module", { without: /up\.randlora/ }, `"${UP}" has no λ and γ, and has the other part's`],
  ["no LoRA at all", { without: /\.lora_/ }, "no lora_A.weight of any module"],
  ["another rank", { config: { lora_r: 4 } }, "has shape [2, 8], but [4, 8] follows"],
  ["no rank", { config: { lora_r: null } }, '"lora_r" is null: it must be a positive integer'],
  ["another variant", { config: { randlora_variant: "half-rank" } }, "has shape [3, 3], but [3, 2] follows"],
  ["an unknown variant", { config: { randlora_variant: "b" } }, "it must be one of peft, paper, half-rank"],
  ["DoRA", { config: { use_dora: true } }, '"use_dora" is set'],
  ["a wrong shape", { tensors: { [lambda]: numbers([3, 2]) } }, "has shape [3, 2], but [3, 3] follows"],
  ["a wrong dtype", { tensors: { [factor]: { ...numbers([3, 8]), dtype: "I32" } } }, "is I32, not a floating type"],
  ["a stranger", { tensors: { "base_model.model.x.weight": numbers([3]) } }, "belongs to no adapted or saved module"],
  ["a magnitude", { tensors: { [`${Q}.lora_magnitude_vector`]: numbers([8]) } }, "is DoRA's, which is not supported"],
])("what does not fit is refused: %s", async (_, given, message) => {
  const refusal = await refusalOf(() => plan(given));
  expect(["adapter", "format"]).toContain(refusal.code);
  expect(refusal.message).toContain(message);
});

test("NaN in either part is named", async () => {
  for (const [name, shape] of [
    [lambda, [3, 3]],
    [factor, [3, 8]],
  ] as const) {
    await using folder = await TemporaryFolder.create();
    const bad = { [name]: f32(shape, new Float32Array(24).fill(NaN).subarray(0, shape[0] * shape[1])) };
    await using adapter = await openAdapter(await writeFolder(folder.at("a"), CONFIG, { ...TENSORS, ...bad }));
    const source = await planAdapter(adapter, BASE).load();
    const refusal = await refusalOf(() => source.reference(1, 1, { rows: [0], cols: [0] }, UNREAD));
    expect([refusal.code, refusal.message]).toEqual(["numeric", expect.stringContaining("holds NaN")]);
  }
});

test("both formats hold the same; bases that are known are left out or drawn", async () => {
  await using folder = await TemporaryFolder.create();
  const generator = "torch-mt19937-ternary";
  const pair = await drawnPair({ generator, sparsity: "sparse", key: 0n, r: 3, max: 12, min: 8 });
  const config = { ...CONFIG, from_the_future: [], save_projection: true };
  const path = await writeFolder(folder.at("a"), config, { ...pair, ...TENSORS });
  const first = await convert(path, { to: "json", out: folder.at("a.json") });
  expect(first).toMatchObject({ generator, projections: false, notes: [] });
  await convert(folder.at("a.json"), { to: "peft", out: folder.at("back") });
  const [original, json, back] = [
    await everything(path),
    await everything(folder.at("a.json")),
    await everything(folder.at("back")),
  ];
  expect(Object.keys(json.tensors).toSorted()).toEqual(
    Object.keys(TENSORS)
      .map((name) => name.replace("base_model.model.", ""))
      .toSorted(),
  );
  expect(json.config).toEqual(original.config);
  expect(back).toEqual({ ...original, bases: json.bases });
  const bare = await convert(folder.at("a.json"), { to: "peft", out: folder.at("bare"), projections: false });
  // PEFT would refuse it with them, too.
  expect(bare.notes).toEqual([expect.stringContaining("PEFT has no RANDLORA_HYBRID and cannot load the folder")]);
  expect((await everything(folder.at("bare"))).config["save_projection"]).toBe(false);
});

test("a LoRA of parameters is no part of one", async () => {
  await using folder = await TemporaryFolder.create();
  const config = { target_modules: ["up"], target_parameters: ["q.weight"] };
  await using lora = await openAdapter(await writeLora(folder.at("a"), LORA, { config }));
  const input = {
    base: BASE,
    matrices: [],
    model: "",
    dtype: "keep",
    seed: 0,
    began: undefined,
    signal: undefined,
  } as const;
  const settings = { ...settingsAsIs(hybridTraining, lora, undefined), ...resolveHybrid({}) };
  expect(await refusalOf(() => hybridTraining.open(input, settings, lora))).toMatchObject({
    code: "adapter",
    message: expect.stringContaining('its target_parameters name "q.weight"'),
  });
});
