// PRANC in merges, beside LoRA, and as GPT-2 stores its weights.
import { expect, test } from "bun:test";
import { type TestLora, loraDelta, writeLora } from "../../testing/lora.ts";
import { prancDelta, type TestPranc, writePranc } from "../../testing/pranc.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { merge } from "./run.ts";
import { distance, readModel, rounded, slackOf, weights, widened, writeModel } from "../testing/models.ts";
import { modelOf, MODULES, Notes, OPTIONS } from "../testing/merge.ts";

const signal = new AbortController().signal;

test("W + Σ ΔW, rounded once", async () => {
  const dtype = "BF16";
  await using folder = await TemporaryFolder.create();
  const pranc: TestPranc = { seed: 9n, alpha: 2, coefficients: [1, -0.5, 2, 0.25, 3], modules: MODULES };
  const lora: TestLora = { r: 3, alpha: 0.5, seed: 1, modules: MODULES };
  const base = await writeModel(folder.at("base"), { tensors: modelOf(dtype) });
  const adapters = [await writePranc(folder.at("pranc"), pranc), await writeLora(folder.at("lora"), lora)];
  for (const [name, order] of [
    ["first", adapters],
    ["second", adapters.toReversed()],
  ] as const) {
    const scales = name === "first" ? [-1, 2] : [2, -1];
    const options = { ...OPTIONS, base, adapters: order, scales, out: folder.at(name) };
    const { bases } = await merge(options, new Notes(), signal);
    expect(new Set(bases)).toEqual(new Set(["philox-v1", "none"]));
    const found = await readModel(folder.at(name));
    for (const module of Object.keys(MODULES)) {
      const before = modelOf(dtype)[`${module}.weight`];
      const after = found[`${module}.weight`];
      if (before === undefined || after === undefined) throw new Error(module);
      const deltas = [prancDelta(pranc, module).map((v) => -v), loraDelta(lora, module).map((v) => 2 * v)];
      const sum = widened(before).map((value, at) => deltas.reduce((all, delta) => all + (delta[at] ?? NaN), value));
      const want = widened({ dtype, data: rounded(sum, dtype) });
      expect(distance(widened(after), want, dtype, slackOf(...deltas)).worst).toBeLessThanOrEqual(1);
    }
  }
});

test("weights above one block, as GPT-2 stores them: the seams do not show, and --unmerge takes it back", async () => {
  await using folder = await TemporaryFolder.create();
  const module = "h.0.mlp.c_fc";
  // 200 rows of 1400 f32 numbers: a block has 192.
  const weight = weights("F32", [200, 1400], 1);
  const model = { tensors: { [`${module}.weight`]: weight }, config: { model_type: "gpt2" } };
  const pranc: TestPranc = { seed: -3n, alpha: 1, coefficients: [1, -2], modules: { [module]: [1400, 200] } };
  const adapters = [await writePranc(folder.at("pranc"), pranc, { config: { fan_in_fan_out: true } })];
  const base = await writeModel(folder.at("base"), model);
  const { out, merged } = await merge({ ...OPTIONS, base, adapters, out: folder.at("out") }, new Notes(), signal);
  expect(merged).toBe(1);
  const delta = prancDelta(pranc, module);
  const before = widened(weight);
  const want = before.map((value, at) => value + (delta[(at % 1400) * 200 + Math.floor(at / 1400)] ?? NaN));
  const found = widened((await readModel(out))[`${module}.weight`] ?? weight);
  const exact = widened({ dtype: "F32", data: rounded(want, "F32") });
  expect(distance(found, exact, "F32", slackOf(delta)).worst).toBeLessThanOrEqual(1);
  const back = { ...OPTIONS, base: out, adapters, out: folder.at("back"), unmerge: true };
  const undone = widened((await readModel((await merge(back, new Notes(), signal)).out))[`${module}.weight`] ?? weight);
  const apart = undone.map((value, at) => Math.abs(value - (before[at] ?? NaN)));
  expect(apart.findIndex((one) => !(one < 1e-6))).toBe(-1);
});
