import { afterAll, beforeAll, expect, test } from "bun:test";
import { matrixOf } from "../tensor/op.ts";
import { OPS } from "../tensor/ops/index.ts";
import { Run } from "../tensor/run.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { take } from "../tensor/cases/placed.ts";
import { CpuDevice } from "./cpu.ts";

let device: CpuDevice;
beforeAll(async () => {
  device = await CpuDevice.open({ threads: 2 });
});
afterAll(() => device.close());

/** Numbers of all sizes, of both signs. */
const NUMBERS = Float32Array.from({ length: 40_000 }, (_, at) => {
  const size = 2 ** (((at >> 1) / 20_000) * 40 - 32);
  return at % 2 === 0 ? size : -size;
});

type Kind = Parameters<typeof OPS.activation.reference>[1]["kind"];
const exact = (kind: Kind) => (x: number) =>
  OPS.activation.reference({ x: matrixOf(1, 1, () => x) }, { kind }).y.data[0] ?? NaN;

/** The values of what is recorded. */
async function valuesOf(record: (run: Run, x: Tensor) => Tensor, x: Float32Array<ArrayBuffer>): Promise<Float64Array> {
  using run = new Run(device);
  const y = run.keep(record(run, run.upload("x", [1, x.length], x)));
  await run.submit();
  const { values } = await take(device, y);
  device.memory.release(y.buffer);
  return values;
}

/** The largest error, relative to the wanted number, or to `least` where that is smaller. */
function worst(found: Float64Array, x: Float32Array, wanted: (x: number) => number, least: number): number {
  return x.reduce((most, value, at) => {
    const want = wanted(value);
    const error = Math.abs((found[at] ?? NaN) - want) / Math.max(Math.abs(want), least);
    return Math.max(most, Number.isNaN(error) ? Infinity : error);
  }, 0);
}

test("exp, by the sigmoid", async () => {
  const found = await valuesOf((run, x) => run.apply(OPS.activation, { x }, { kind: "silu" }).y, NUMBERS);
  expect(worst(found, NUMBERS, exact("silu"), 1e-30)).toBeLessThan(4e-7);
});

test("tanh", async () => {
  const found = await valuesOf((run, x) => run.apply(OPS.softcap, { x }, { cap: 1 }).y, NUMBERS);
  expect(worst(found, NUMBERS, Math.tanh, 1e-30)).toBeLessThan(3e-7);
});

test.each(["gelu", "gelu-tanh"] as const)("%s", async (kind) => {
  const found = await valuesOf((run, x) => run.apply(OPS.activation, { x }, { kind }).y, NUMBERS);
  expect(worst(found, NUMBERS, exact(kind), 1)).toBeLessThan(5e-7);
});

test("log, by the sum over equal logits", async () => {
  for (const size of [1, 2, 3, 7, 1000, 1023, 1024, 1025, 5000]) {
    using run = new Run(device);
    const x = run.upload("x", [1, 4], new Float32Array(4));
    const weight = run.upload("weight", [size, 4], new Float32Array(4 * size));
    const targets = run.upload("targets", [1, 1], Uint32Array.of(size - 1));
    const lse = run.keep(run.apply(OPS.nll, { x, weight, bias: undefined, targets }, { softcap: undefined }).lse);
    await run.submit();
    const { values } = await take(device, lse);
    device.memory.release(lse.buffer);
    expect(Math.abs((values[0] ?? NaN) - Math.log(size))).toBeLessThanOrEqual(2e-7 * Math.log(size));
  }
});

test("what is no number stays so, and infinities have the values of limits", async () => {
  const x = Float32Array.of(NaN, Infinity, -Infinity, 0, 88.7, -103.9, 1000, -1000);
  const silu = await valuesOf((run, x) => run.apply(OPS.activation, { x }, { kind: "silu" }).y, x);
  expect(Array.from(silu).slice(0, 2)).toEqual([NaN, Infinity]);
  expect(Array.from(silu).slice(6)).toEqual([1000, -0]);
  const tanh = await valuesOf((run, x) => run.apply(OPS.softcap, { x }, { cap: 1 }).y, x);
  expect(Array.from(tanh).slice(0, 4)).toEqual([NaN, 1, -1, 0]);
});

test("a row of the loss is the same in a pass of one row and of many", async () => {
  const rows = 130;
  const random = (count: number) => Float32Array.from({ length: count }, (_, at) => Math.sin(at * 12.9898) * 3);
  const run = async (first: number, count: number) => {
    using run = new Run(device);
    const x = run.upload("x", [count, 12], random(rows * 12).slice(first * 12, (first + count) * 12));
    const weight = run.upload("weight", [70_001, 12], random(70_001 * 12));
    const targets = run.upload(
      "targets",
      [1, count],
      Uint32Array.from({ length: count }, (_, at) => (first + at) * 500),
    );
    const y = run.keep(run.apply(OPS.nll, { x, weight, bias: undefined, targets }, { softcap: 7 }).y);
    await run.submit();
    const { values } = await take(device, y);
    device.memory.release(y.buffer);
    return values;
  };
  const all = await run(0, rows);
  for (const row of [0, 57, 129]) expect((await run(row, 1))[0]).toBe(all[row] ?? NaN);
});
