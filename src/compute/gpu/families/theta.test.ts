import { afterAll, beforeAll, expect, spyOn, test } from "bun:test";
import { RunMemory } from "../../device/run-memory.ts";
import { tensorIn } from "../../device/tensor.ts";
import { philoxKey } from "../../random/philox.ts";
import type { Gpu } from "../gpu.ts";
import { openTestGpu } from "../../device/testing/open.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

test("matrices of more blocks, or lines, than an axis has workgroups are dispatched in parts", () => {
  const few = { ...gpu.limits, maxComputeWorkgroupsPerDimension: 3 };
  const limited = gpu.counting();
  Object.assign(limited, { limits: few });
  const target = gpu.memory.allocate("target", 16);
  const coefficients = tensorIn(target, [1, 1], "F32");
  const layer = { out: 10, in: 512, offset: 48, scale: 1 };
  const block = { firstRow: 5, rows: 5, target, at: 8, pitch: 516 };
  const words = (transposed: boolean) => {
    using on = limited.recording(new RunMemory(limited));
    const dispatch = spyOn(on, "dispatch");
    on.compute("thetaDelta", { layer, key: philoxKey(0n), coefficients, transposed, block });
    return dispatch.mock.calls.map(([, { count, targetAt: at, begin }, , workgroups]) => ({
      count,
      at,
      begin,
      workgroups,
    }));
  };
  expect(words(false)).toEqual([
    { count: 2048, at: 8, begin: [48 + 5 * 512, 0], workgroups: [3, 1] },
    { count: 512, at: 8 + 4 * 516, begin: [48 + 9 * 512, 0], workgroups: [1, 1] },
  ]);
  expect(words(true)).toEqual(
    [0, 3, 6, 9].map((col) => ({
      count: 5,
      at: 8 + col,
      begin: [48 + col * 512 + 5, 0],
      workgroups: [1, col === 9 ? 1 : 3],
    })),
  );
  gpu.memory.release(target);
});
