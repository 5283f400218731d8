import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Device } from "../device/device.ts";
import { openTestDevice, SMALL_BINDING } from "../device/testing/open.ts";
import { CpuDevice } from "../cpu/cpu.ts";
import { random } from "./cases/case.ts";
import { place, relativeError, take } from "./cases/placed.ts";
import { matrixOf } from "./op.ts";
import { Run } from "./run.ts";
import { sliceRows, type Tensor, write } from "./tensor.ts";

// What the registry's cases of `groupedLinear` do not reach: matrices that no binding holds, those that nobody reads, and
// that each group is the product that it would be alone.

let gpu: Device;
let cpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice({ limits: "small" });
  cpu = await CpuDevice.open({ threads: 3 });
});
afterAll(() => [gpu, cpu].forEach((device) => device.close()));

const COMPILE_TIMEOUT = 120_000;
/** Rows of each of five groups: one has none, one a row, one several tiles. */
const SIZES = [4, 0, 130, 1, 7] as const;
const BEGINS = SIZES.reduce<number[]>((all, size) => [...all, (all.at(-1) ?? 0) + size], [0]);
const ROWS = BEGINS.at(-1) ?? 0;
const [OUT, IN] = [300, 512];

const x = random(ROWS, IN);
const dy = random(ROWS, OUT);
const weight = random(SIZES.length * OUT, IN);

/** The values of what `record` fills, and of the same by one product for each group with rows. */
async function bothWays(
  device: Device,
  shape: readonly [number, number],
  grouped: (run: Run, on: { x: Tensor; dy: Tensor; weight: Tensor; begins: Tensor }, y: Tensor) => void,
  alone: (run: Run, group: number, on: { x: Tensor; dy: Tensor; weight: Tensor }, y: Tensor) => void,
): Promise<[Float64Array, Float64Array]> {
  using run = new Run(device);
  const on = { x: place(device, x), dy: place(device, dy), weight: place(device, weight) };
  const begins = run.upload("begins", [1, BEGINS.length], Uint32Array.from(BEGINS));
  const targets = [0, 1].map(() => place(device, { dtype: "F32", matrix: matrixOf(...shape, () => 0) }));
  const [one, other] = targets;
  if (one === undefined || other === undefined) throw new Error("no targets");
  grouped(run, { ...on, begins }, one);
  SIZES.forEach((size, group) => {
    const rows = (tensor: Tensor) => sliceRows(tensor, BEGINS[group] ?? NaN, size);
    if (size > 0)
      alone(run, group, { x: rows(on.x), dy: rows(on.dy), weight: sliceRows(on.weight, group * OUT, OUT) }, other);
  });
  await run.submit();
  const values = [await take(device, one), await take(device, other)].map((taken) => taken.values);
  for (const { buffer } of [...targets, ...Object.values(on)]) device.memory.release(buffer);
  return [values[0] ?? new Float64Array(), values[1] ?? new Float64Array()];
}

const forward = (device: Device) =>
  bothWays(
    device,
    [ROWS, OUT],
    (run, { x: a, weight: b, begins }, y) => run.compute("groupedGemm", { order: "NT", a, b, begins, y }),
    (run, group, { x: a, weight: b }, y) =>
      run.compute("gemm", { order: "NT", a, b, y: sliceRows(y, BEGINS[group] ?? NaN, a.shape[0]) }),
  );

const byRows = (device: Device) =>
  bothWays(
    device,
    [ROWS, IN],
    (run, { dy: a, weight: b, begins }, y) => run.compute("groupedGemm", { order: "NN", a, b, begins, y }),
    (run, group, { dy: a, weight: b }, y) =>
      run.compute("gemm", { order: "NN", a, b, y: sliceRows(y, BEGINS[group] ?? NaN, a.shape[0]) }),
  );

const byWeights = (device: Device) =>
  bothWays(
    device,
    [SIZES.length * OUT, IN],
    (run, { dy: a, x: b, begins }, y) => run.compute("groupedGemm", { order: "TN", a, b, begins, y }),
    (run, group, { dy: a, x: b }, y) =>
      run.compute("gemm", { order: "TN", a, b, accumulate: true, y: sliceRows(y, group * OUT, OUT) }),
  );

describe.each([
  ["forward", forward],
  ["the gradient of rows", byRows],
  ["the gradient of matrices", byWeights],
] as const)("%s", (_, compute) => {
  test("matrices of all groups are more than a binding holds", () => {
    expect(SIZES.length * OUT * IN * 4).toBeGreaterThan(SMALL_BINDING);
  });

  test(
    "each group's product is the one that it is alone",
    async () => {
      const [grouped, alone] = await compute(gpu);
      expect(relativeError(grouped, alone)).toBeLessThan(1e-6);
    },
    COMPILE_TIMEOUT,
  );

  test("on the CPU device to the same bits", async () => {
    const [grouped, alone] = await compute(cpu);
    expect(grouped).toEqual(alone);
  });
});

test(
  "few rows and many find the matrices of their groups",
  async () => {
    const results = [];
    for (const rowsAtMost of [8, 1000]) {
      using run = new Run(gpu);
      const [placed, matrices] = [place(gpu, x), place(gpu, weight)];
      const begins = run.upload("begins", [1, 6], Uint32Array.of(0, 1, 1, 3, 3, 5));
      const y = run.keep(run.allocate("y", [5, OUT]));
      run.compute("groupedGemm", { order: "NT", a: sliceRows(placed, 0, 5), b: matrices, begins, rowsAtMost, y });
      await run.submit();
      results.push((await take(gpu, y)).values);
      for (const { buffer } of [placed, matrices, y]) gpu.memory.release(buffer);
    }
    const [few = new Float64Array(), many = new Float64Array()] = results;
    expect(relativeError(few, many)).toBeLessThan(1e-6);
  },
  COMPILE_TIMEOUT,
);

test(
  "nothing is read of matrices that no row goes to",
  async () => {
    for (const rowsAtMost of [8, 1000]) {
      using run = new Run(gpu);
      const matrices = run.allocate("weight", [3 * 40, 24]);
      write(
        gpu,
        matrices,
        Float32Array.from({ length: 3 * 40 * 24 }, (_, at) => (Math.floor(at / 960) === 1 ? 0.5 : NaN)),
      );
      const a = run.upload("x", [2, 24], new Float32Array(48).fill(1));
      const begins = run.upload("begins", [1, 4], Uint32Array.of(0, 0, 2, 2));
      const y = run.keep(run.allocate("y", [2, 40]));
      run.compute("groupedGemm", { order: "NT", a, b: matrices, begins, rowsAtMost, y });
      await run.submit();
      expect([...(await take(gpu, y)).values]).toEqual(Array(80).fill(12));
      gpu.memory.release(y.buffer);
    }
  },
  COMPILE_TIMEOUT,
);
