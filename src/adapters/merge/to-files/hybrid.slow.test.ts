// RandLoRA and LoRA in one adapter: a merge is that of the two, one after the other into one sum.
import { expect, test } from "bun:test";
import { loraDelta, type TestLora, writeLora } from "../../testing/lora.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { merge } from "./run.ts";
import type { MergeOptions } from "./options.ts";
import {
  deltaOf,
  distance,
  readModel,
  slackOf,
  type TestModel,
  weights,
  widened,
  writeAdapter,
  writeModel,
} from "../testing/models.ts";
import { writeHybrid } from "../testing/hybrid.ts";
import { ADAPTER, LAYER, modelOf, MODULES, Notes, OPTIONS } from "../testing/merge.ts";

const UP = `${LAYER}.mlp.up_proj`;
const LORA: TestLora = { r: 4, alpha: 0.5, seed: 1, modules: MODULES, ranks: { [UP]: 7 } };
const SECOND: TestLora = { r: 2, alpha: 1, seed: 2, modules: { [UP]: [75, 37] } };

async function run(folder: TemporaryFolder, name: string, adapters: readonly string[], options: Partial<MergeOptions>) {
  const all = { ...OPTIONS, base: folder.at("base"), adapters, out: folder.at(name), ...options };
  const summary = await merge(all, new Notes(), new AbortController().signal);
  return { summary, tensors: await readModel(summary.out) };
}

const WAYS: [string, TestModel, Partial<MergeOptions>][] = [
  ["bf16, in shards, another scale", { tensors: modelOf("BF16"), shardBytes: 4000 }, { scales: [-0.5] }],
  ["f16", { tensors: modelOf("F16") }, { dtype: "f32" }],
];

test.each(WAYS)("the bytes are those of both adapters in one merge: %s", async (_, model, options) => {
  await using folder = await TemporaryFolder.create();
  await writeModel(folder.at("base"), model);
  const second = await writeLora(folder.at("second"), SECOND);
  const [one, two] = [await writeAdapter(folder.at("one"), ADAPTER), await writeLora(folder.at("two"), LORA)];
  const both = await writeHybrid(folder.at("both"), ADAPTER, LORA);
  const apart = await run(folder, "apart", [one, two], options);
  const sum = await run(folder, "sum", [both], options);
  expect(sum.tensors).toEqual(apart.tensors);
  expect(sum.summary.bases).toEqual(["torch-mt19937-ternary"]);
  const more = { ...options, scales: [] };
  const [three, mixed] = [
    await run(folder, "3", [one, two, second], more),
    await run(folder, "2", [both, second], more),
  ];
  expect(mixed.tensors).toEqual(three.tensors);
});

test("W + ΔW + ΔW in f64, and back", async () => {
  await using folder = await TemporaryFolder.create();
  await writeModel(folder.at("base"), { tensors: modelOf("F32") });
  const both = await writeHybrid(folder.at("both"), ADAPTER, LORA);
  const { tensors } = await run(folder, "sum", [both], {});
  for (const name of Object.keys(MODULES) as (keyof typeof MODULES)[]) {
    const deltas = [deltaOf(ADAPTER, name, "f32"), loraDelta(LORA, name)];
    const before = widened(modelOf("F32")[`${name}.weight`] ?? weights("F32", [1], 1));
    const want = before.map((value, at) => deltas.reduce((sum, delta) => sum + (delta[at] ?? NaN), value));
    const found = widened(tensors[`${name}.weight`] ?? weights("F32", [1], 1));
    expect(distance(found, want, "F32", slackOf(...deltas)).worst).toBeLessThanOrEqual(1);
    expect(slackOf(...deltas)).toBeGreaterThan(1e-8);
  }
  const back = await run(folder, "back", [both], { base: folder.at("sum"), unmerge: true });
  const values = widened(back.tensors[`${UP}.weight`] ?? weights("F32", [1], 1));
  widened(modelOf("F32")[`${UP}.weight`] ?? weights("F32", [1], 1)).forEach((value, at) => {
    expect(Math.abs((values[at] ?? NaN) - value)).toBeLessThan(1e-7);
  });
});

test("weights as GPT-2 stores them, above one block", async () => {
  await using folder = await TemporaryFolder.create();
  const module = "h.0.mlp.c_fc";
  const model = { tensors: { [`${module}.weight`]: weights("F32", [200, 1400], 1) }, config: { model_type: "gpt2" } };
  await writeModel(folder.at("base"), model);
  // 200 rows of 1400 f32 numbers: a block has 192.
  const modules = { [module]: [1400, 200] } as const;
  const [adapter, lora] = [
    { r: 50, alpha: 1, seed: 3, modules },
    { r: 6, alpha: 1, seed: 3, modules },
  ];
  const config = { fan_in_fan_out: true };
  const one = await writeAdapter(folder.at("one"), adapter, { config });
  const two = await writeLora(folder.at("two"), lora, { config });
  const both = await writeHybrid(folder.at("both"), adapter, lora, config);
  const sum = await run(folder, "sum", [both], {});
  expect(sum.summary.merged).toBe(1);
  expect(sum.tensors).toEqual((await run(folder, "apart", [one, two], {})).tensors);
});
