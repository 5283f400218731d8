import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { toBlocks } from "../device/blocks.ts";
import { BLOCK_DTYPES } from "../device/dtype.ts";
import type { Device } from "../device/device.ts";
import type { Staging } from "../device/staging.ts";
import { IS_GPU, openTestDevice, SMALL_BINDING } from "../device/testing/open.ts";
import { multipliesWholeNumbers } from "../device/testing/stagings.ts";
import { recordGemm } from "./gemm.ts";
import { at, type Matrix, matrixOf } from "./op.ts";
import { Run } from "./run.ts";
import { sliceCols, sliceRows, type Tensor, tensorBytes, tensorIn } from "./tensor.ts";
import { random } from "./cases/case.ts";
import { place, relativeError, take } from "./cases/placed.ts";
import { recordWidened } from "./widen.ts";

// What the registry's cases of `linear` do not reach: views of matrices in blocks, the families beside products, and
// matrices that no binding holds.

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice({ limits: "small" });
});
afterAll(() => gpu.close());

/** Ways to compute linear layers: the device's own, and on GPUs that with integer dot products. */
const WAYS = ["own way", ...(IS_GPU ? ["integer dot products"] : [])] as const;
type Way = (typeof WAYS)[number];

const stagingOf = (way: Way): Staging => (way === "own way" ? gpu.staging : { kind: "workgroup", integerDots: true });

/** Of linear layers: products of whole numbers round activations to 15 bits. */
function tolerance(way: Way): number {
  return multipliesWholeNumbers(stagingOf(way)) ? 2e-4 : 2e-6;
}

const COMPILE_TIMEOUT = 120_000;
/** Of integer dot products on a driver that writes them out. */
const LARGE_TIMEOUT = 600_000;

/** The elements of some rows and columns. */
function part({ data, shape }: Matrix, row: number, rows: number, col: number, cols: number): Matrix {
  return matrixOf(rows, cols, (i, j) => data[(row + i) * shape[1] + col + j] ?? NaN);
}

/** Runs `record` with an F32 matrix of NaN to fill. */
async function filled(
  rows: number,
  cols: number,
  record: (run: Run, y: Tensor) => void,
  way: Way = "own way",
): Promise<Float64Array> {
  using run = new Run(gpu, stagingOf(way));
  const y = run.keep(run.allocate("y", [rows, cols]));
  gpu.write(y.buffer, new Uint32Array(y.buffer.size / 4).fill(0x7fc00000));
  record(run, y);
  await run.submit();
  const { values } = await take(gpu, y);
  gpu.memory.release(y.buffer);
  return values;
}

describe.each(BLOCK_DTYPES)("%s", (dtype) => {
  // 3 blocks a row: from row 1 on the scales of a row begin within a word.
  const whole = random(45, 96, dtype);
  const rows = part(whole.matrix, 7, 33, 0, 96);

  test.each(WAYS)(
    "views of rows and columns are multiplied with, either way: %s",
    async (way) => {
      const weight = place(gpu, whole);
      const inner = sliceCols(sliceRows(weight, 7, 33), 32, 64);
      const of = part(whole.matrix, 7, 33, 32, 64);
      for (const tokens of [2, 9]) {
        const [x, dy] = [random(tokens, 64), random(tokens, 33)];
        const [px, pdy] = [place(gpu, x), place(gpu, dy)];
        const multiply = (run: Run, y: Tensor) => {
          run.compute("linear", { x: px, weight: inner, bias: undefined, residual: undefined, scale: 1, y });
        };
        const y = await filled(tokens, 33, multiply, way);
        const back = (run: Run, y: Tensor) => recordGemm(run, { order: "NN", a: pdy, b: inner, y });
        const dx = await filled(tokens, 64, back, way);
        const dot = (count: number, term: (k: number) => number) =>
          Array.from({ length: count }, (_, k) => term(k)).reduce((sum, one) => sum + one, 0);
        const wantedY = matrixOf(tokens, 33, (t, n) => dot(64, (k) => at(x.matrix, t, k) * at(of, n, k)));
        const wantedX = matrixOf(tokens, 64, (t, k) => dot(33, (n) => at(dy.matrix, t, n) * at(of, n, k)));
        expect(relativeError(y, wantedY.data)).toBeLessThan(tolerance(way));
        expect(relativeError(dx, wantedX.data)).toBeLessThan(2e-6);
        for (const { buffer } of [px, pdy]) gpu.memory.release(buffer);
      }
      gpu.memory.release(weight.buffer);
    },
    COMPILE_TIMEOUT,
  );

  test.each(WAYS)(
    "a block with a number that is none makes no number, of one token and of several: %s",
    async (way) => {
      const broken = random(9, 96, dtype);
      broken.matrix.data[2 * 96 + 40] = Infinity;
      const [weight, x] = [place(gpu, broken), place(gpu, random(5, 96))];
      for (const tokens of [1, 5]) {
        const multiply = (run: Run, y: Tensor) => {
          const inputs = { x: sliceRows(x, 0, tokens), weight, bias: undefined, residual: undefined, scale: 1 };
          run.compute("linear", { ...inputs, y });
        };
        const y = await filled(tokens, 9, multiply, way);
        expect([...y].map(Number.isFinite)).toEqual(Array.from(y, (_, at) => at % 9 !== 2));
      }
      for (const { buffer } of [weight, x]) gpu.memory.release(buffer);
    },
    COMPILE_TIMEOUT,
  );

  test(
    "is widened to the very numbers that it stands for",
    async () => {
      const weight = place(gpu, whole);
      const found = await filled(33, 96, (run, y) => recordWidened(run, sliceRows(weight, 7, 33), y));
      expect(found).toEqual(rows.data);
      gpu.memory.release(weight.buffer);
    },
    COMPILE_TIMEOUT,
  );

  test(
    "has sums of squares, and is rescaled, with what is added to it",
    async () => {
      const [weight, delta] = [place(gpu, whole), random(33, 96)];
      const added = place(gpu, delta);
      const view = sliceRows(weight, 7, 33);
      const squares = await filled(1, 33, (run, sums) =>
        run.compute("rowSquares", { weight: view, delta: added, sums }),
      );
      const columns = await filled(1, 96, (run, sums) => {
        run.compute("columnSquares", { weight: view, delta: undefined, sums, accumulate: false });
      });
      const square = (row: number, col: number) => (at(rows, row, col) + at(delta.matrix, row, col)) ** 2;
      const wanted = matrixOf(1, 33, (_, row) => {
        return Array.from({ length: 96 }, (_, col) => square(row, col)).reduce((sum, one) => sum + one, 0);
      });
      const wantedColumns = matrixOf(1, 96, (_, col) => {
        return Array.from({ length: 33 }, (_, row) => at(rows, row, col) ** 2).reduce((sum, one) => sum + one, 0);
      });
      expect(relativeError(squares, wanted.data)).toBeLessThan(2e-6);
      expect(relativeError(columns, wantedColumns.data)).toBeLessThan(2e-6);

      const [factors, change] = [random(1, 45), random(45, 96)];
      const [c, target] = [place(gpu, factors), place(gpu, change)];
      using run = new Run(gpu);
      run.compute("rescale", { weight, delta: undefined, factors: c, columns: false, target });
      await run.submit();
      const rescaled = matrixOf(45, 96, (row, col) => {
        const [w, d] = [at(whole.matrix, row, col), at(change.matrix, row, col)];
        return at(factors.matrix, 0, row) * (w + d) - w;
      });
      expect(relativeError((await take(gpu, target)).values, rescaled.data)).toBeLessThan(2e-6);
      for (const { buffer } of [weight, added, c, target]) gpu.memory.release(buffer);
    },
    COMPILE_TIMEOUT,
  );

  test.each(WAYS)(
    "is taken in parts where it is above the binding limit: %s",
    async (way) => {
      const cols = 4096;
      const perRow = tensorBytes([1, cols], dtype);
      const count = Math.floor(SMALL_BINDING / perRow) + 37;
      const shape = [count, cols] as const;
      const tall = tensorIn(gpu.memory.allocate("tall", tensorBytes(shape, dtype)), shape, dtype);
      gpu.clear([tall.buffer]);
      const last = random(1, cols, dtype);
      const { quants, scales } = toBlocks(Float32Array.from(last.matrix.data), dtype);
      for (const row of [3, count - 1]) {
        gpu.write(tall.buffer, quants, row * quants.length);
        gpu.write(tall.buffer, scales, (tall.scalesAt ?? NaN) + row * scales.byteLength);
      }
      const x = random(5, cols);
      const px = place(gpu, x);
      const dots = matrixOf(5, 1, (t) => last.matrix.data.reduce((sum, w, k) => sum + w * at(x.matrix, t, k), 0));
      // The one sum may come to nearly nothing: what counts is what it is made of.
      const most = last.matrix.data.reduce((sum, w, k) => sum + Math.abs(w * at(x.matrix, 0, k)), 0);
      const bare = { bias: undefined, residual: undefined, scale: 1 };
      for (const tokens of [1, 5]) {
        const multiply = (run: Run, y: Tensor) => {
          run.compute("linear", { x: sliceRows(px, 0, tokens), weight: tall, ...bare, y });
        };
        const y = await filled(tokens, count, multiply, way);
        const wanted = matrixOf(tokens, count, (t, n) => (n === 3 || n === count - 1 ? at(dots, t, 0) : 0));
        const off = wanted.data.reduce((worst, value, i) => Math.max(worst, Math.abs((y[i] ?? NaN) - value)), 0);
        expect(off / most).toBeLessThan(tolerance(way) / 10);
      }
      const chosen = { dtype: "F32" as const, matrix: matrixOf(5, count, (t, n) => Number(n === count - 1) * (t + 1)) };
      const dy = place(gpu, chosen);
      const back = (run: Run, y: Tensor) => recordGemm(run, { order: "NN", a: dy, b: tall, y });
      const dx = await filled(5, cols, back, way);
      const wanted = matrixOf(5, cols, (t, k) => (t + 1) * at(last.matrix, 0, k));
      expect(relativeError(dx, wanted.data)).toBeLessThan(2e-6);
      for (const { buffer } of [tall, px, dy]) gpu.memory.release(buffer);
    },
    LARGE_TIMEOUT,
  );
});

test("columns that are no whole blocks are refused, of a matrix and of a view", () => {
  const buffer = gpu.memory.allocate("some", 4096);
  expect(() => tensorIn(buffer, [2, 48], "Q8_0")).toThrow("rows of 48");
  expect(() => sliceCols(tensorIn(buffer, [2, 64], "Q8_0"), 16, 32)).toThrow("multiples of 32");
  gpu.memory.release(buffer);
});

test("a family that takes no blocks says so", async () => {
  const of = place(gpu, random(4, 32, "Q8_0"));
  const w = place(gpu, { dtype: "F32", matrix: { shape: [1, 1], data: Float64Array.of(1) } });
  using run = new Run(gpu);
  const y = run.allocate("y", [4, 32]);
  const steps = { row: 32, col: 1, term: 0 };
  const product = { x: { of, steps }, w: { of: w, steps: { row: 0, col: 0, term: 0 } }, y, terms: 1, scale: 1 };
  expect(() => run.compute("stridedSums", product)).toThrow("is quantized");
  for (const { buffer } of [of, w]) gpu.memory.release(buffer);
});
