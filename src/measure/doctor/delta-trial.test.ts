import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { compare, DeltaTrial } from "./delta-trial.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const SHAPES = [
  [96, 80],
  [40, 132],
] as const;
const KINDS = [
  ["torch-mt19937-bf16-v2", "dense", "f32", "bf16"],
  ["torch-mt19937-f32", "dense", "f32", "f32"],
  ["torch-mt19937-ternary", "sparse", "f32", "ternary"],
  ["philox-v1", "dense", "f32", "philox"],
  ["philox-v1", "dense", "bf16", "philox"],
] as const;

const trials = SHAPES.flatMap(([out, in_]) => KINDS.map((kind) => [out, in_, ...kind] as const));

test.each(trials)("ΔW %d×%d, %s %s on %s as %s", async (out, in_, ...kind) => {
  const [generator, sparsity, grid, storage] = kind;
  using trial = await DeltaTrial.create(gpu, { out, in: in_, r: 6, generator, sparsity, grid });
  expect(trial.storage).toBe(storage);
  expect(trial.flops).toBe(2 * out * in_ * Math.ceil(Math.min(out, in_) / 6) * 6);
  const check = await trial.check();
  expect(check.sampled).toBe(256);
  expect(check.maxRelativeError).toBeLessThan(2e-6);
  expect(check.maxRelativeError).toBeGreaterThan(0); // zero would mean that nothing was computed in f32
  expect(check.correct).toBe(true);
});

test("a timing is the trial's own work", async () => {
  using trial = await DeltaTrial.create(gpu, {
    out: 96,
    in: 96,
    r: 8,
    generator: "philox-v1",
    sparsity: "dense",
  });
  const { seconds, gflops } = await trial.measure();
  expect(seconds).toBeGreaterThan(0);
  expect(gflops * seconds * 1e9).toBeCloseTo(trial.flops, -1);
});

test("memory comes back", async () => {
  const before = gpu.memory.liveBytes;
  const trial = await DeltaTrial.create(gpu, { out: 64, in: 64, r: 4, generator: "philox-v1", sparsity: "dense" });
  expect(gpu.memory.liveBytes).toBeGreaterThan(before);
  trial.release();
  expect(gpu.memory.liveBytes).toBe(before);
});

test("a wrong element, a missing one and NaN are found out", () => {
  const wanted = Float64Array.of(1, -0.5, 1e-9);
  expect(compare([1, -0.5, 1e-9], wanted)).toEqual({ sampled: 3, maxRelativeError: 0, correct: true });
  expect(compare([1, -0.5 + 1e-6, 0], wanted).correct).toBe(true);
  expect(compare([1, -0.5 + 1e-5, 0], wanted).correct).toBe(false);
  expect(compare([1, -0.5], wanted).correct).toBe(false);
  expect(compare([1, NaN, 0], wanted).correct).toBe(false);
  expect(compare([0, 0, 0], wanted)).toMatchObject({ maxRelativeError: 1, correct: false });
});
