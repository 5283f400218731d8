import { afterAll, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { add } from "../../rows/arithmetic.ts";
import { activation, gatedActivation } from "../../rows/gates.ts";
import { RunMemory } from "../../device/run-memory.ts";
import { type Shape, sliceCols } from "../../device/tensor.ts";
import type { Gpu } from "../gpu.ts";
import type { GpuRecording } from "../recording.ts";
import { openTestGpu } from "../../device/testing/open.ts";
import { takeScratch } from "../../device/scratch.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openTestGpu("guaranteed");
});
afterAll(() => gpu.close());

/** Rows of each dispatch of what is recorded; nothing is computed. */
function rowsOfDispatches(record: (on: GpuRecording) => void): number[] {
  const counting = gpu.counting();
  using on = counting.recording(new RunMemory(counting));
  const dispatch = spyOn(on, "dispatch");
  record(on);
  return dispatch.mock.calls.map(([, , , [, y = 1]]) => y);
}

/** Those of a value and of a gradient of matrices of this shape. */
function dispatches(shape: Shape): { forward: number[]; backward: number[] } {
  const take = (on: GpuRecording) =>
    [takeScratch(on, "a", shape), takeScratch(on, "b", shape), takeScratch(on, "y", shape)] as const;
  return {
    forward: rowsOfDispatches((on) => {
      const [a, b, y] = take(on);
      on.compute("elementwise", { kernel: add.kernel(), tensors: { a, b, y } });
    }),
    backward: rowsOfDispatches((on) => {
      const [x, dy, dx] = take(on);
      on.compute("elementwise", { kernel: activation.kernel("silu", ["x"]), tensors: { x, dy, dx } });
    }),
  };
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

test.each<[string, number, number[]]>([
  ["one dispatch", 65_504, [65_504]],
  ["apart where their rows are cut", 65_505, [65_504, 1, 65_504, 1]],
])("both gradients of a gate in one buffer: %s", (_, rows, wanted) => {
  const both = gatedActivation.kernel("silu", ["gate", "up"]);
  expect(
    rowsOfDispatches((on) => {
      const [gate, up, dy] = [
        takeScratch(on, "gate", [rows, 4]),
        takeScratch(on, "up", [rows, 4]),
        takeScratch(on, "dy", [rows, 4]),
      ];
      const into = takeScratch(on, "gradients", [rows, 8]);
      const tensors = { gate, up, dy, dgate: sliceCols(into, 0, 4), dup: sliceCols(into, 4, 4) };
      on.compute("elementwise", { kernel: both, tensors });
    }),
  ).toEqual(wanted);
});
