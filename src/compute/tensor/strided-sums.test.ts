import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../device/device.ts";
import { openTestDevice, SMALL_BINDING } from "../device/testing/open.ts";
import type { KernelDtype } from "../device/dtype.ts";
import { matrixOf } from "./op.ts";
import { readRows } from "./read-rows.ts";
import { recordStridedSums, type Steps } from "./strided-sums.ts";
import { Run } from "./run.ts";
import { pitchOf, sliceRows, type Tensor, tensorIn } from "./tensor.ts";
import { place } from "./cases/placed.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice({ limits: "small" });
});
afterAll(() => gpu.close());

/** Numbers that every dtype holds; sums of them are exact in f32. */
const number = (row: number, col: number) => ((row * 7 + col * 13) % 15) - 7;

/** `rows` × `cols` of them, two rows further on in its buffer. */
function operand(rows: number, cols: number, dtype: KernelDtype): Tensor {
  const whole = place(gpu, { matrix: matrixOf(rows + 2, cols, (row, col) => number(row - 2, col)), dtype });
  return sliceRows(whole, 2, rows);
}

interface Case {
  readonly dtype: KernelDtype;
  /** Sizes of x, w and y. */
  readonly x: readonly [number, number];
  readonly w: readonly [number, number];
  readonly y: readonly [number, number];
  readonly terms: number;
  /** Given the pitches of x and w. */
  steps(x: number, w: number): { readonly x: Steps; readonly w: Steps };
  /** The elements of term t. */
  at(i: number, j: number, t: number): readonly [x: readonly [number, number], w: readonly [number, number]];
  readonly accumulate?: boolean;
}

const [R, N, LONG] = [5, 9, 71];
const sums = { x: [LONG, N * R], terms: N } as const;
const CASES: Record<string, Case> = {
  "rows of x are columns of y": {
    ...sums,
    dtype: "BF16",
    w: [R, N],
    y: [R, LONG],
    steps: (x, w) => ({ x: { row: 1, col: x, term: R }, w: { row: w, col: 0, term: 1 } }),
    at: (i, j, t) => [
      [j, t * R + i],
      [i, t],
    ],
  },
  "weights along the columns": {
    ...sums,
    dtype: "F16",
    w: [N, LONG],
    y: [R, LONG],
    steps: (x, w) => ({ x: { row: 1, col: x, term: R }, w: { row: 0, col: 1, term: w } }),
    at: (i, j, t) => [
      [j, t * R + i],
      [t, j],
    ],
  },
  "added, over neighbors": {
    ...sums,
    terms: R,
    dtype: "F32",
    w: [R, LONG],
    y: [N, LONG],
    accumulate: true,
    steps: (x, w) => ({ x: { row: R, col: x, term: 1 }, w: { row: 0, col: 1, term: w } }),
    at: (i, j, t) => [
      [j, i * R + t],
      [t, j],
    ],
  },
  "one term of each row, from a diagonal": {
    dtype: "F32",
    x: [R, R],
    w: [1, 1],
    y: [R, 1],
    terms: 1,
    steps: (x) => ({ x: { row: x + 1, col: R, term: 0 }, w: { row: 0, col: 0, term: 0 } }),
    at: (i) => [
      [i, i],
      [0, 0],
    ],
  },
  "more terms than a block": {
    dtype: "BF16",
    x: [3, 700],
    w: [1, 700],
    y: [2, 3],
    terms: 700,
    steps: (x) => ({ x: { row: 0, col: x, term: 1 }, w: { row: 0, col: 0, term: 1 } }),
    at: (_, j, t) => [
      [j, t],
      [0, t],
    ],
  },
  "more rows than a dispatch": {
    dtype: "BF16",
    x: [3, 2],
    w: [66_000, 2],
    y: [66_000, 3],
    terms: 2,
    steps: (x, w) => ({ x: { row: 0, col: x, term: 1 }, w: { row: w, col: 0, term: 1 } }),
    at: (i, j, t) => [
      [j, t],
      [i, t],
    ],
  },
};

test.each(Object.entries(CASES))("%s", async (_, one) => {
  const { dtype, terms, accumulate = false } = one;
  const [x, w] = [operand(...one.x, dtype), operand(...one.w, "F32")];
  const [rows, cols] = one.y;
  const y = tensorIn(gpu.memory.allocate("y", rows * pitchOf(cols, "F32") * 4), one.y, "F32");
  gpu.write(y.buffer, new Float32Array(rows * y.pitch).fill(5));
  const steps = one.steps(x.pitch, w.pitch);
  using run = new Run(gpu);
  recordStridedSums(run, {
    x: { of: x, steps: steps.x },
    w: { of: w, steps: steps.w },
    y,
    terms,
    scale: 0.5,
    accumulate,
  });
  await run.submit();
  const last = rows - 1;
  for (const first of rows > 1000 ? [0, last - 1000] : [0]) {
    const found = await readRows(gpu, y, first, Math.min(rows, 1000));
    const want = Float32Array.from({ length: found.length }, (__, at) => {
      const [i, j] = [first + Math.floor(at / cols), at % cols];
      let sum = 0;
      for (let t = 0; t < terms; t++) {
        const [from, by] = one.at(i, j, t);
        sum += number(...from) * number(...by);
      }
      return 0.5 * sum + (accumulate ? 5 : 0);
    });
    expect(found).toEqual(want);
  }
  const padding = (await readRows(gpu, { ...y, shape: [rows, y.pitch] }, 0, 1)).subarray(cols);
  expect(padding).toEqual(new Float32Array(padding.length).fill(accumulate ? 5 : 0));
  for (const { buffer } of [x, w, y]) gpu.memory.release(buffer);
});

test(
  "a matrix above the binding limit",
  async () => {
    const cols = 1024;
    const rows = Math.floor(SMALL_BINDING / cols / 4) + 37;
    // Zeros, but for one row.
    const x = tensorIn(gpu.memory.allocate("large", rows * cols * 4), [rows, cols], "F32");
    gpu.clear([x.buffer]);
    gpu.write(x.buffer, Float32Array.of(3, 4), (rows - 2) * cols * 4);
    const w = place(gpu, { matrix: matrixOf(2, rows, (row, col) => row + col), dtype: "F32" });
    const y = tensorIn(gpu.memory.allocate("y", pitchOf(rows, "F32") * 4), [1, rows], "F32");
    using run = new Run(gpu);
    recordStridedSums(run, {
      x: { of: x, steps: { row: 0, col: cols, term: 1 } },
      w: { of: w, steps: { row: 0, col: 1, term: w.pitch } },
      y,
      terms: 2,
      scale: 1,
    });
    await run.submit();
    const found = await readRows(gpu, y, 0, 1);
    expect(found.at(-2)).toBe(3 * (rows - 2) + 4 * (rows - 1));
    expect(found.filter((value) => value !== 0).length).toBe(1);
    for (const { buffer } of [x, w, y]) gpu.memory.release(buffer);
  },
  { timeout: 60_000 },
);
