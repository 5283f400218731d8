import { afterAll, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { Gpu } from "../gpu/gpu.ts";
import { ELEMENTWISE } from "../kernels/elementwise.ts";
import { recordElementwise, recordElementwiseBackward } from "./elementwise.ts";
import { Run } from "./run.ts";
import type { Shape } from "./tensor.ts";
import { take } from "./testing/placed.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await Gpu.open({ limits: "guaranteed" });
});
afterAll(() => gpu.close());

/** Rows of each dispatch that these matrices take; nothing is computed. */
function dispatches([rows, cols]: Shape): { forward: number[]; backward: number[] } {
  using run = new Run(gpu.counting());
  const dispatch = spyOn(run, "dispatch");
  const rowsOf = () => dispatch.mock.calls.map(([, , , [, y = 1]]) => y);
  const [a, b, y] = [run.allocate("a", [rows, cols]), run.allocate("b", [rows, cols]), run.allocate("y", [rows, cols])];
  recordElementwise(run, ELEMENTWISE.add, a, b, y);
  const forward = rowsOf();
  dispatch.mockClear();
  recordElementwiseBackward(run, ELEMENTWISE.silu, { a, gradient: y, da: b });
  return { forward, backward: rowsOf() };
}

describe("as many dispatches as the GPU's limits demand, and no more", () => {
  test.each<[string, Shape, number[]]>([
    ["bindings, a row left over", [2305, 28_672], [1152, 1152, 1]],
    ["workgroups, a row left over", [65_505, 8], [65_504, 1]],
    ["workgroups", [131_009, 4], [65_504, 65_504, 1]],
    ["neither", [65_504, 8], [65_504]],
  ])("%s", (_, shape, wanted) => {
    expect(dispatches(shape)).toEqual({ forward: wanted, backward: wanted });
  });
});

test("what is left over is computed, too", async () => {
  const rows = 65_505;
  using run = new Run(gpu);
  const x = run.upload(
    "x",
    [rows, 4],
    Float32Array.from({ length: rows * 4 }, (_, at) => at % 1000),
  );
  const y = run.keep(run.allocate("y", [rows, 4]));
  recordElementwise(run, ELEMENTWISE.add, x, x, y);
  await run.submit();
  const { values } = await take(gpu, y);
  expect(values.findIndex((value, at) => value !== 2 * (at % 1000))).toBe(-1);
  gpu.memory.release(y.buffer);
});
