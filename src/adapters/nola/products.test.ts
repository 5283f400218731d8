import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { philoxElement, philoxStream } from "../../compute/random/philox.ts";
import { Run } from "../../compute/tensor/run.ts";
import { itemAt } from "../../files/item-at.ts";
import { allocateStacks, factorsOf } from "../delta/low-rank/derived.ts";
import { error, numbers, placed, taken } from "../testing/bases.ts";
import { fillElements } from "./draws.ts";
import { NolaBases, writeFactors } from "./products.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const KEY = 2n ** 63n + 77n;

interface Case {
  readonly rank: number;
  readonly bases: number;
  readonly lengths: readonly number[];
  readonly panelBytes?: number;
  readonly staging?: Staging;
}

test.each<Case>([
  { rank: 2, bases: 300, lengths: [40, 13, 40] },
  { rank: 2, bases: 300, lengths: [40, 13, 40], staging: { kind: "workgroup" } },
  // Panels of 8 columns, and of 24.
  { rank: 3, bases: 20, lengths: [37, 70, 37, 5], panelBytes: 100 },
  { rank: 3, bases: 20, lengths: [37, 70, 37, 5], panelBytes: 1000, staging: { kind: "workgroup" } },
  // More bases than a dispatch has workgroups along an axis.
  { rank: 1, bases: 66_000, lengths: [4, 3] },
])("sums of shared random factors, and the gradients of their coefficients: %j", async (one) => {
  const { rank, bases, lengths, panelBytes, staging = gpu.staging } = one;
  const before = gpu.memory.liveBytes;
  const most = Math.max(...lengths) + 3;
  const draws = { key: KEY, bases, rank, maxIn: 1, maxOut: most, initSeed: 0 };
  const shapes = lengths.map((cols) => ({ rows: rank, cols }));
  const [stacks, initial] = [allocateStacks(gpu, "factors", shapes), allocateStacks(gpu, "before", shapes)];
  const first = lengths.map((cols) => numbers(rank * cols));
  writeFactors(gpu, initial, (module) => first[module] ?? numbers(0));
  const values = lengths.map(() => numbers(bases));
  const before0 = lengths.map(() => numbers(bases));
  const formed = stacks.map((stack, at) => {
    const rows = (of: readonly Float32Array[]) => stack.modules.flatMap((module) => [...(of[module] ?? [])]);
    const shape = [stack.modules.length, bases] as const;
    const coefficients = [
      { at: 0, value: placed(gpu, shape, rows(values), 64), gradient: placed(gpu, shape, rows(before0), 128) },
    ];
    return { stack, initial: initial[at], coefficients };
  });
  const owner = new DisposableStack();
  const shared = new NolaBases(ownedBy(owner, gpu), draws, "b", panelBytes);
  const run = new Run(gpu, staging);
  shared.form(run, formed);
  shared.fold(run, formed);
  await run.submit();

  const stream = philoxStream(KEY, 1, "dense", 1);
  const unit = 255 / Math.sqrt(765 / 257);
  const elements = Float64Array.from({ length: bases * rank * most }, (_, at) => {
    return Math.round(philoxElement(stream, at) * unit) / 255;
  });
  const same = new Float64Array(elements.length - 5);
  fillElements(draws, 1, same, 5);
  expect(same).toEqual(elements.subarray(5));
  const element = (i: number, k: number, col: number) => itemAt(elements, (i * rank + k) * most + col);
  for (const [module, cols] of lengths.entries()) {
    const factor = factorsOf(stacks)[module];
    if (factor === undefined) throw new RangeError();
    const want = Float64Array.from({ length: rank * cols }, (_, at) => {
      let sum = 0;
      const [k, col] = [Math.floor(at / cols), at % cols];
      for (let i = 0; i < bases; i++) sum += (values[module]?.[i] ?? NaN) * element(i, k, col);
      return (first[module]?.[at] ?? NaN) + sum / Math.sqrt(bases);
    });
    const found = await taken(gpu, factor);
    expect(error(found, want)).toBeLessThan(1e-5);
    const gradient = Float64Array.from({ length: bases }, (_, i) => {
      let sum = 0;
      for (let at = 0; at < rank * cols; at++) {
        sum += itemAt(found, at) * element(i, Math.floor(at / cols), at % cols);
      }
      return (before0[module]?.[i] ?? NaN) + sum / Math.sqrt(bases);
    });
    const at = stacks.findIndex(({ modules }) => modules.includes(module));
    const row = stacks[at]?.modules.indexOf(module) ?? NaN;
    const all = formed[at]?.coefficients[0]?.gradient;
    if (all === undefined) throw new RangeError();
    const own = (await taken(gpu, all)).subarray(row * bases, (row + 1) * bases);
    expect(error(own, gradient)).toBeLessThan(1e-5);
  }
  run[Symbol.dispose]();
  owner.dispose();
  for (const { tensor } of [...stacks, ...initial]) gpu.memory.release(tensor.buffer);
  for (const { coefficients } of formed) {
    for (const { value, gradient } of coefficients) {
      for (const { buffer } of [value, gradient]) gpu.memory.release(buffer);
    }
  }
  expect(gpu.memory.liveBytes).toBe(before);
});
