import { add } from "../rows/arithmetic.ts";
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../device/device.ts";
import { openTestDevice } from "../device/testing/open.ts";
import { Run } from "./run.ts";
import { take } from "./cases/placed.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice({ limits: "guaranteed" });
});
afterAll(() => gpu.close());

test("what is left over is computed, too", async () => {
  const rows = 65_505;
  using run = new Run(gpu);
  const x = run.upload(
    "x",
    [rows, 4],
    Float32Array.from({ length: rows * 4 }, (_, at) => at % 1000),
  );
  const y = run.keep(run.allocate("y", [rows, 4]));
  run.compute("elementwise", { kernel: add.kernel(), tensors: { a: x, b: x, y: y } });
  await run.submit();
  const { values } = await take(gpu, y);
  expect(values.findIndex((value, at) => value !== 2 * (at % 1000))).toBe(-1);
  gpu.memory.release(y.buffer);
});
