import fc from "fast-check";
import { describe, expect, test } from "bun:test";
import { describeBase } from "../../base/base.ts";
import { openPeft } from "../../formats/peft.ts";
import { planAdapter } from "../../methods.ts";
import { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import type { WritableFloatDtype } from "../../../files/safetensors/dtype.ts";
import { packBlocks, unpackBlocks } from "../../../models/read-weights.ts";
import { fileSource, planMerge } from "../plan.ts";
import { deltaOf, rounded, type TestAdapter, weights, widened, writeAdapter, writeModel } from "../testing/models.ts";
import { sample, ulp, verifyMerge } from "./verify.ts";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";

const MODULE = "model.layers.0.mlp.up_proj";
const NAME = `${MODULE}.weight`;
const COLS = 32;
const ADAPTER: TestAdapter = { r: 3, alpha: 6, seed: 5, modules: { [MODULE]: [40, COLS] } };

/** Verifies a merge that this test did itself, in f64, with `change` made to what was "written". */
async function verify(
  dtype: "F32" | "BF16",
  change: (values: Float64Array) => void,
  signal = new AbortController().signal,
  blocks?: "Q8_0" | "Q4_0",
): Promise<number> {
  await using folder = await TemporaryFolder.create();
  const base = weights(dtype, [40, COLS], 1);
  await using checkpoint = await Checkpoint.open(await writeModel(folder.at("base"), { tensors: { [NAME]: base } }));
  await using adapter = await openPeft(await writeAdapter(folder.at("adapter"), ADAPTER));
  const model = describeBase(checkpoint, { model_type: "llama" });
  const plan = planAdapter(adapter, model);
  const { tensors } = planMerge(checkpoint, model, [plan], "keep");
  const delta = deltaOf(ADAPTER, MODULE, dtype === "BF16" ? "bf16" : "f32");
  const merged = widened(base).map((value, at) => value + (delta[at] ?? NaN));
  const data = rounded(merged, dtype);
  const exact = widened({ dtype, data });
  const values =
    blocks === undefined
      ? exact
      : Float64Array.from(unpackBlocks(packBlocks(Float32Array.from(exact), blocks), blocks));
  change(values);
  const out = await writeModel(folder.at("out"), { tensors: { [NAME]: { ...base, data: rounded(values, dtype) } } });
  await using written = await Checkpoint.open(out);
  const { file, info } = written.get(NAME);
  const largest = new Map([[NAME, Math.max(...delta.map(Math.abs))]]);
  const verified = [{ plan, source: await plan.load(), factor: 1 }];
  const source = { ...fileSource(file, info), blocks: blocks && { dtype: blocks, isTurned: false } };
  return await verifyMerge(tensors, verified, () => source, "once", largest, signal);
}

describe.each(["F32", "BF16"] as const)("a merge in %s", (dtype) => {
  test("that is right is off by half a unit at most", async () => {
    expect(await verify(dtype, () => {})).toBeWithin(0.01, 0.5001);
  });

  test("with one wrong weight in the sample is refused by tensor and place", async () => {
    const refusal = await refusalOf(() => verify(dtype, (values) => (values[COLS * 40 - 1] = 0.75)));
    expect([refusal.code, refusal.message]).toEqual([
      "numeric",
      expect.stringMatching(
        /^verification failed: weight \[39, 31\] of tensor ".*up_proj\.weight" is 0\.75, in double/,
      ),
    ]);
  });

  test("that lost ΔW, or holds NaN, is refused", async () => {
    expect((await refusalOf(() => verify(dtype, (values) => values.fill(0)))).code).toBe("numeric");
    expect((await refusalOf(() => verify(dtype, (values) => (values[0] = NaN)))).message).toContain("is NaN");
  });
});

test.each([
  ["Q8_0", 0.55],
  ["Q4_0", 1],
] as const)("numbers rounded to blocks of %s are off by their scale at most", async (blocks, most) => {
  const { signal } = new AbortController();
  expect(await verify("F32", () => {}, signal, blocks)).toBeWithin(0.2, most);
  // Another block's scale, and a block that lost ΔW.
  const scaled = (factor: number) => (values: Float64Array) => values.set(values.map((value) => value * factor));
  for (const change of [scaled(1.5), scaled(0)]) {
    expect((await refusalOf(() => verify("F32", change, signal, blocks))).code).toBe("numeric");
  }
});

test("a verification can be stopped", async () => {
  await expect(verify("F32", () => {}, AbortSignal.abort(new Error("stopped")))).rejects.toThrow("stopped");
});

test("a sample has both ends, no index twice, and is the same in every run", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100_000 }), fc.nat(1000), (count, seed) => {
      const picked = sample(count, seed);
      expect(picked).toHaveLength(Math.min(count, 8));
      expect(picked).toEqual([...new Set(picked)].toSorted((a, b) => a - b));
      expect([picked[0], picked.at(-1)]).toEqual([0, count - 1]);
      expect(sample(count, seed)).toEqual(picked);
    }),
    { numRuns: 100 },
  );
});

test("a unit in the last place is the step to the next number of the dtype", () => {
  const step = (value: number, dtype: WritableFloatDtype): number => {
    const data = rounded(Float64Array.of(value), dtype);
    const bits = new DataView(data.buffer);
    if (dtype === "F32") bits.setUint32(0, bits.getUint32(0, true) + 1, true);
    else bits.setUint16(0, bits.getUint16(0, true) + 1, true);
    return (widened({ dtype, data })[0] ?? NaN) - value;
  };
  for (const dtype of ["F32", "F16", "BF16"] as const) {
    for (const value of [0, 1, 1.5, 1016, 2 ** -14, 2 ** -20]) expect(ulp(value, dtype)).toBe(step(value, dtype));
    expect(ulp(-3, dtype)).toBe(ulp(3, dtype));
  }
});
