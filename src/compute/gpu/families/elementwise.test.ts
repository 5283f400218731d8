import { afterAll, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { add } from "../../rows/arithmetic.ts";
import { activation } from "../../rows/gates.ts";
import { RunMemory } from "../../device/run-memory.ts";
import type { Shape } from "../../device/tensor.ts";
import type { Gpu } from "../gpu.ts";
import { openTestGpu } from "../../device/testing/open.ts";
import { takeScratch } from "../../device/scratch.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openTestGpu("guaranteed");
});
afterAll(() => gpu.close());

/** Rows of each dispatch that these matrices take; nothing is computed. */
function dispatches([rows, cols]: Shape): { forward: number[]; backward: number[] } {
  const counting = gpu.counting();
  using on = counting.recording(new RunMemory(counting));
  const dispatch = spyOn(on, "dispatch");
  const rowsOf = () => dispatch.mock.calls.map(([, , , [, y = 1]]) => y);
  const [a, b, y] = [
    takeScratch(on, "a", [rows, cols]),
    takeScratch(on, "b", [rows, cols]),
    takeScratch(on, "y", [rows, cols]),
  ];
  on.compute("elementwise", { kernel: add.kernel(), tensors: { a, b, y } });
  const forward = rowsOf();
  dispatch.mockClear();
  on.compute("elementwise", { kernel: activation.kernel("silu", ["x"]), tensors: { x: a, dy: y, dx: b } });
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
