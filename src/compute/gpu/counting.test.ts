import { expect, test } from "bun:test";
import { OPS } from "../tensor/ops/index.ts";
import { Run } from "../tensor/run.ts";
import type { Gpu } from "./gpu.ts";
import { openTestGpu } from "../device/testing/open.ts";

/** Some ops, released and kept memory, a read. */
async function work(gpu: Gpu): Promise<Float32Array> {
  using run = new Run(gpu);
  const a = run.upload("a", [64, 64], new Float32Array(4096).fill(1));
  const { y } = run.apply(OPS.linear, { x: a, weight: a, bias: undefined, residual: undefined }, {});
  const { y: sum } = run.apply(OPS.add, { a: y, b: a }, {});
  run.release(y);
  const { y: last } = run.apply(OPS.softcap, { x: sum }, { cap: 30 });
  const kept = run.keep(last);
  await run.submit();
  const range = { buffer: kept.buffer, offset: 0, size: 16 };
  const numbers = await gpu.readWith([range], async ([bytes]) => new Float32Array(bytes?.slice().buffer ?? []));
  gpu.memory.release(kept.buffer);
  return numbers;
}

test("a counting GPU takes what the real one takes, computes nothing and makes no buffer", async () => {
  using gpu = await openTestGpu();
  const counting = gpu.counting();
  expect(counting.info).toEqual(gpu.info);
  expect(await work(counting)).toEqual(new Float32Array(4));
  expect(gpu.memory.peakBytes).toBe(0);
  const numbers = await work(gpu);
  expect(numbers[0]).toBeCloseTo(30 * Math.tanh(65 / 30), 4);
  expect(counting.memory.peakLiveBytes).toBe(gpu.memory.peakLiveBytes);
  expect(counting.memory.peakLiveBytes).toBeGreaterThan(3 * 4096 * 4);
  expect(counting.memory.peakBytes).toBe(gpu.memory.peakBytes);
  expect(counting.memory.liveBytes).toBe(0);
});
