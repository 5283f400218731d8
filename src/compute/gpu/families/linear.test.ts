import { afterAll, beforeAll, expect, spyOn, test } from "bun:test";
import { RunMemory } from "../../device/run-memory.ts";
import { takeScratch } from "../../device/scratch.ts";
import { openTestGpu } from "../../device/testing/open.ts";
import { OPS } from "../../tensor/ops/index.ts";
import { Run } from "../../tensor/run.ts";
import { random } from "../../tensor/cases/case.ts";
import { place, take } from "../../tensor/cases/placed.ts";
import { sliceRows } from "../../tensor/tensor.ts";
import type { Gpu } from "../gpu.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

/** Workgroups of each dispatch, and the kernels, of one token's products in a batch of so many slots. */
function ofOneToken(slots: number): unknown[] {
  const counting = gpu.counting();
  using on = counting.recording(new RunMemory(counting));
  const dispatch = spyOn(on, "dispatch");
  const [x, weight, y] = [takeScratch(on, "x", [1, 64]), takeScratch(on, "w", [96, 64]), takeScratch(on, "y", [1, 96])];
  const norm = { weight: takeScratch(on, "norm", [1, 64]), epsilon: 1e-5, offset: 0, branch: undefined };
  const plain = { x, weight, bias: undefined, y, rowsAtMost: slots };
  on.compute("linear", { ...plain, residual: undefined, scale: 1 });
  on.compute("normedLinear", { ...plain, norm, gate: undefined });
  const [a, rows] = [takeScratch(on, "a", [8, 64]), takeScratch(on, "rows", [8, 12])];
  const begins = takeScratch(on, "begins", [1, 9], "U32");
  on.compute("groupedGemm", { order: "NT", a, b: weight, begins, y: rows, rowsAtMost: 8 * slots });
  return dispatch.mock.calls.map(([kernel, , , workgroups]) => [kernel.key, workgroups]);
}

test("one token among nine slots, or 32, takes the work of one alone", () => {
  expect(ofOneToken(1)).toHaveLength(3);
  for (const slots of [9, 32]) expect(ofOneToken(slots)).toEqual(ofOneToken(1));
});

test("a row's bits are those that it has alone, however many rows share workgroups with it", async () => {
  const of = (rows: number) => place(gpu, random(rows, 300));
  const [x, branch, weight, norm, branchNorm] = [of(5), of(5), of(13), of(1), of(1)];
  const results: Float64Array[][] = [];
  for (const rows of [5, 1]) {
    using run = new Run(gpu);
    const some = { x: sliceRows(x, 0, rows), branch: sliceRows(branch, 0, rows), weight, bias: undefined };
    const attributes = { epsilon: 1e-5, offset: 1, gate: undefined, rowsAtMost: 9 };
    const { y, sum } = run.apply(OPS.normedLinear, { ...some, norm, branchNorm }, attributes);
    const kept = [run.keep(y), ...(sum === undefined ? [] : [run.keep(sum)])];
    await run.submit();
    results.push(await Promise.all(kept.map(async (tensor) => (await take(gpu, tensor)).values)));
    for (const { buffer } of kept) gpu.memory.release(buffer);
  }
  const [all = [], few = []] = results;
  expect(all).toHaveLength(2);
  expect(few).toEqual(all.map((values, index) => values.subarray(0, few[index]?.length)));
});
