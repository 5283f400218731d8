import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Device } from "../device/device.ts";
import { openTestDevice, SMALL_BINDING } from "../device/testing/open.ts";
import type { GemmOrder } from "../device/families/products.ts";
import { recordGemm } from "./gemm.ts";
import { at, type Matrix, matrixOf } from "./op.ts";
import { Run } from "./run.ts";
import { sliceCols, sliceRows, type Tensor, tensorBytes, tensorIn } from "./tensor.ts";
import { type Operand, random } from "./cases/case.ts";
import { place, relativeError, take } from "./cases/placed.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice({ limits: "small" });
});
afterAll(() => gpu.close());

/** Milliseconds: on a software GPU with an empty shader cache a kernel takes seconds to compile. */
const COMPILE_TIMEOUT = 120_000;
const ORDERS = ["NT", "NN", "TN"] as const satisfies readonly GemmOrder[];

/** Operands of y (rows, cols), a sum over `terms`. */
function operands(order: GemmOrder, rows: number, cols: number, terms: number, dtype: "F32" | "F16" | "BF16") {
  const a = order === "TN" ? random(terms, rows) : random(rows, terms);
  const b = order === "NT" ? random(cols, terms, dtype) : random(terms, cols, dtype);
  return { a, b };
}

function product(order: GemmOrder, { matrix: a }: Operand, { matrix: b }: Operand): Matrix {
  const [rows, terms] = order === "TN" ? [a.shape[1], a.shape[0]] : a.shape;
  return matrixOf(rows, order === "NT" ? b.shape[0] : b.shape[1], (row, col) => {
    let sum = 0;
    for (let k = 0; k < terms; k++) {
      sum += (order === "TN" ? at(a, k, row) : at(a, row, k)) * (order === "NT" ? at(b, col, k) : at(b, k, col));
    }
    return sum;
  });
}

/** A tensor full of `value`, padding included. */
function filled(rows: number, cols: number, value: number): Tensor {
  const tensor = tensorIn(gpu.memory.allocate("y", tensorBytes([rows, cols], "F32")), [rows, cols], "F32");
  gpu.write(tensor.buffer, new Float32Array(tensor.buffer.size / 4).fill(value));
  return tensor;
}

function release(...tensors: readonly Tensor[]): void {
  for (const { buffer } of tensors) gpu.memory.release(buffer);
}

type Lines = "rows" | "cols";

/** What are lines of y, and what are terms, in a and in b. */
const AXES = {
  NT: ["rows", "cols", "rows", "cols"],
  NN: ["rows", "cols", "cols", "rows"],
  TN: ["cols", "rows", "cols", "rows"],
} as const;

/** Some rows or columns of an operand. */
function part({ matrix, dtype }: Operand, lines: Lines, first: number, count: number): Operand {
  const [rows, cols] = matrix.shape;
  const cut =
    lines === "rows"
      ? matrixOf(count, cols, (row, col) => at(matrix, first + row, col))
      : matrixOf(rows, count, (row, col) => at(matrix, row, first + col));
  return { dtype, matrix: cut };
}

const SHAPES = [
  { rows: 1, cols: 1, terms: 1 },
  { rows: 5, cols: 51, terms: 37 },
  { rows: 67, cols: 33, terms: 262 },
  { rows: 26, cols: 130, terms: 9 },
  { rows: 98, cols: 7, terms: 515 },
];

describe.each(ORDERS)("%s", (order) => {
  for (const dtype of ["F32", "F16", "BF16"] as const) {
    test(
      `odd shapes, ${dtype}`,
      async () => {
        for (const { rows, cols, terms } of SHAPES) {
          const { a, b } = operands(order, rows, cols, terms, dtype);
          const tensors = [place(gpu, a), place(gpu, b)] as const;
          const y = filled(rows, cols, NaN);
          using run = new Run(gpu);
          recordGemm(run, { order, a: tensors[0], b: tensors[1], y });
          await run.submit();
          const { values, paddedWithZeros } = await take(gpu, y);
          expect(relativeError(values, product(order, a, b).data)).toBeLessThan(2e-6);
          expect(paddedWithZeros).toBe(true);
          release(...tensors, y);
        }
      },
      COMPILE_TIMEOUT,
    );
  }

  test("views of wider matrices: scale, bias, residual, added to y; nothing else is written", async () => {
    const [rows, cols, terms] = [13, 24, 40];
    const wide = operands(order, 32, 48, 64, "BF16");
    const [a, b] = [place(gpu, wide.a), place(gpu, wide.b)];
    const view = (tensor: Tensor, lines: Lines, first: number, count: number) =>
      (lines === "rows" ? sliceRows : sliceCols)(tensor, first, count);
    const [aLines, aTerms, bLines, bTerms] = AXES[order];
    const want = product(
      order,
      part(part(wide.a, aLines, 8, rows + 3), aTerms, 16, terms),
      part(part(wide.b, bLines, 8, cols), bTerms, 16, terms),
    ).data;
    const bias = random(1, 48);
    const residual = random(rows + 3, 32);
    const [biasTensor, residualTensor] = [place(gpu, bias), place(gpu, residual)];
    const y = filled(40, 40, 7);
    using run = new Run(gpu);
    recordGemm(run, {
      order,
      a: view(view(a, aLines, 8, rows + 3), aTerms, 16, terms),
      b: view(view(b, bLines, 8, cols), bTerms, 16, terms),
      y: sliceCols(sliceRows(y, 2, rows + 3), 12, cols),
      scale: -0.5,
      bias: sliceCols(biasTensor, 16, cols),
      residual: sliceCols(residualTensor, 4, cols),
      accumulate: true,
    });
    await run.submit();
    const found = (await take(gpu, y)).values;
    const wanted = Float64Array.from({ length: 40 * 40 }, (_, index) => {
      const [row, col] = [Math.floor(index / 40) - 2, (index % 40) - 12];
      if (row < 0 || row >= rows + 3 || col < 0 || col >= cols) return 7;
      const added = at(bias.matrix, 0, 16 + col) + at(residual.matrix, row, 4 + col);
      return 7 - 0.5 * (want[row * cols + col] ?? NaN) + added;
    });
    expect(relativeError(found, wanted)).toBeLessThan(2e-6);
    release(a, b, biasTensor, residualTensor, y);
  });
});

test(
  "matrices above the binding limit, along each axis",
  async () => {
    // Zeros, but for some rows.
    const cols = 1024;
    const rows = Math.floor(SMALL_BINDING / cols / 4) + 37;
    const last = Float32Array.from({ length: cols }, (_, index) => Math.sin(index));
    const tall = tensorIn(gpu.memory.allocate("tall", tensorBytes([rows, cols], "F32")), [rows, cols], "F32");
    gpu.clear([tall.buffer]);
    for (const row of [3, rows - 1]) gpu.write(tall.buffer, last, row * cols * 4);
    const y = tensorIn(gpu.memory.allocate("tall y", tensorBytes([rows, cols], "F32")), [rows, cols], "F32");
    const one = random(8, cols);
    const chosen = place(gpu, {
      dtype: "F32",
      matrix: matrixOf(8, rows, (row, col) => Number(col === rows - 1) + 2 * Number(col === 3) * row),
    });
    const vector = place(gpu, one);
    const inner = filled(8, rows, NaN);
    const sums = filled(8, cols, NaN);
    const transposed = filled(rows, 8, NaN);
    const picked = filled(cols, 8, NaN);
    using run = new Run(gpu);
    recordGemm(run, { order: "NT", a: vector, b: tall, y: inner }); // columns of y in blocks
    recordGemm(run, { order: "NN", a: chosen, b: tall, y: sums }); // the sum in blocks
    recordGemm(run, { order: "NT", a: tall, b: vector, y: transposed }); // rows of a in blocks
    recordGemm(run, { order: "TN", a: tall, b: transposed, y: picked }); // the sum in blocks
    recordGemm(run, { order: "TN", a: chosen, b: vector, y }); // rows of y in blocks
    await run.submit();
    const dots = Array.from({ length: 8 }, (_, row) =>
      last.reduce((sum, value, col) => sum + value * at(one.matrix, row, col), 0),
    );
    const innerFound = (await take(gpu, inner)).values;
    const wantedInner = new Float64Array(8 * rows);
    for (let row = 0; row < 8; row++) {
      for (const col of [3, rows - 1]) wantedInner[row * rows + col] = dots[row] ?? NaN;
    }
    expect(relativeError(innerFound, wantedInner)).toBeLessThan(2e-6);
    const wantedSums = matrixOf(8, cols, (row, col) => (1 + 2 * row) * (last[col] ?? NaN));
    expect(relativeError((await take(gpu, sums)).values, wantedSums.data)).toBeLessThan(2e-6);
    const wantedTransposed = matrixOf(rows, 8, (row, col) => (row === 3 || row === rows - 1 ? (dots[col] ?? NaN) : 0));
    expect(relativeError((await take(gpu, transposed)).values, wantedTransposed.data)).toBeLessThan(2e-6);
    const wantedPicked = matrixOf(cols, 8, (row, col) => 2 * (last[row] ?? NaN) * (dots[col] ?? NaN));
    expect(relativeError((await take(gpu, picked)).values, wantedPicked.data)).toBeLessThan(2e-6);
    for (const [row, factor] of [
      [3, (k: number) => 2 * k],
      [4, () => 0],
      [rows - 1, () => 1],
    ] as const) {
      const range = { buffer: y.buffer, offset: row * cols * 4, size: cols * 4 };
      const found = await gpu.readWith([range], async ([bytes]) =>
        Float64Array.from(new Float32Array(bytes?.slice().buffer ?? [])),
      );
      const wanted = matrixOf(1, cols, (_, col) => {
        let sum = 0;
        for (let k = 0; k < 8; k++) sum += factor(k) * at(one.matrix, k, col);
        return sum;
      });
      expect(relativeError(found, wanted.data)).toBeLessThan(2e-6);
    }
    release(tall, y, chosen, vector, inner, sums, transposed, picked);
  },
  COMPILE_TIMEOUT,
);

test("shapes that do not fit are refused", () => {
  using run = new Run(gpu);
  const a = run.allocate("a", [3, 5]);
  const b = run.allocate("b", [4, 5]);
  const y = run.allocate("y", [3, 4]);
  recordGemm(run, { order: "NT", a, b, y });
  expect(() => recordGemm(run, { order: "NN", a, b, y })).toThrow("gemm NN: a 3×5, b 4×5, y 3×4");
});
