import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { finishSteps, takeSteps } from "../frozen/drawing/bases.ts";
import { eigenvalueSteps } from "./eigenvalues.ts";
import { effectiveRank, numericalRank, singularValueSteps, singularWork } from "./singular-values.ts";

/** A repeatable source of numbers from −1 to 1. */
function source(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

/** Rows that are orthonormal to 1e-15 (Gram and Schmidt, twice). */
function orthonormal(count: number, length: number, seed: number): Float64Array[] {
  const next = source(seed);
  const rows: Float64Array[] = [];
  for (let i = 0; i < count; i++) {
    const row = Float64Array.from({ length }, next);
    for (let turn = 0; turn < 2; turn++) {
      for (const other of rows) {
        const dot = row.reduce((sum, value, k) => sum + value * (other[k] ?? 0), 0);
        row.forEach((value, k) => (row[k] = value - dot * (other[k] ?? 0)));
      }
      const norm = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
      row.forEach((value, k) => (row[k] = value / (turn === 0 ? 1 : norm)));
    }
    rows.push(row);
  }
  return rows;
}

/** U·diag(values)·Vᵀ: a matrix of which the singular values are known. */
function withValues(rows: number, cols: number, values: readonly number[]): Float64Array<ArrayBuffer> {
  const [u, v] = [orthonormal(values.length, rows, 1), orthonormal(values.length, cols, 2)];
  const data = new Float64Array(rows * cols);
  for (const [k, value] of values.entries()) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < cols; j++) {
        data[i * cols + j] = (data[i * cols + j] ?? 0) + value * (u[k]?.[i] ?? 0) * (v[k]?.[j] ?? 0);
      }
    }
  }
  return data;
}

/** One-sided Jacobi rotations (Hestenes): another way, that never squares the matrix. */
function jacobi(rows: number, cols: number, data: ArrayLike<number>): number[] {
  const isWide = cols > rows;
  const columns = Array.from({ length: Math.min(rows, cols) }, (_, c) =>
    Float64Array.from({ length: Math.max(rows, cols) }, (__, k) => data[isWide ? c * cols + k : k * cols + c] ?? 0),
  );
  const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, k) => sum + value * (b[k] ?? 0), 0);
  for (let sweep = 0; sweep < 30; sweep++) {
    let isDone = true;
    for (const [i, a] of columns.entries()) {
      for (const b of columns.slice(i + 1)) {
        const [aa, bb, ab] = [dot(a, a), dot(b, b), dot(a, b)];
        if (Math.abs(ab) <= 1e-15 * Math.sqrt(aa * bb)) continue;
        isDone = false;
        const zeta = (bb - aa) / (2 * ab);
        const t = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
        const c = 1 / Math.sqrt(1 + t * t);
        for (let k = 0; k < a.length; k++) {
          const [x, y] = [a[k] ?? 0, b[k] ?? 0];
          a[k] = c * (x - t * y);
          b[k] = c * (y + t * x);
        }
      }
    }
    if (isDone) break;
  }
  return columns.map((column) => Math.sqrt(dot(column, column))).toSorted((a, b) => b - a);
}

/** The largest difference, in units of the largest value; what is not given counts as zero. */
function error(found: Float64Array, wanted: readonly number[]): number {
  expect(found.length).toBeLessThanOrEqual(wanted.length);
  const worst = wanted.reduce((most, value, i) => Math.max(most, Math.abs(value - (found[i] ?? 0))), 0);
  return worst / Math.max(wanted[0] ?? 0, 1e-300);
}

test("an element that is small beside its neighbor is not lost", () => {
  const data = Float64Array.from([1, 0, 0, 0, 0, 0, 1e-9, 1, 0]);
  const found = finishSteps(eigenvalueSteps({ size: 3, pitch: 3, data }));
  // Of [[1, 0, e], [0, 0, 1], [e, 1, 0]] to the second order in e: 1 ± e/√2, and −1.
  for (const [k, wanted] of [1 + 1e-9 / Math.SQRT2, 1 - 1e-9 / Math.SQRT2, -1].entries())
    expect(Math.abs((found[k] ?? NaN) - wanted)).toBeLessThan(1e-15 * 4);
});

describe("eigenvalues", () => {
  test.each([1, 2, 3, 10, 64, 101])("of min(i, j), %d × %d, are known", (size) => {
    const data = new Float64Array((size + 3) * size);
    for (let i = 0; i < size; i++) for (let j = 0; j <= i; j++) data[i * (size + 3) + j] = j + 1;
    const found = finishSteps(eigenvalueSteps({ size, pitch: size + 3, data }));
    const wanted = Array.from(
      { length: size },
      (_, k) => 1 / (4 * Math.sin(((2 * k + 1) * Math.PI) / (2 * (2 * size + 1))) ** 2),
    );
    expect(error(found, wanted)).toBeLessThan(1e-14);
  });

  test.each([
    ["zeros", [0, 0, 0, 0, 0, 0]],
    ["diagonal, of both signs", [3, 0, -2, 0, 0, 1]],
    ["already reduced", [1, 1, 1, 0, 1, 1]],
  ])("%s", (_, lower) => {
    // Rows of the lower triangle of a 3 × 3 matrix.
    const data = new Float64Array(9);
    let next = 0;
    for (let i = 0; i < 3; i++) for (let j = 0; j <= i; j++) data[i * 3 + j] = lower[next++] ?? 0;
    const full = (i: number, j: number) => data[Math.max(i, j) * 3 + Math.min(i, j)] ?? 0;
    const [trace, squares] = [0, 1, 2].reduce(
      ([a, b], i) => [a + full(i, i), b + [0, 1, 2].reduce((sum, j) => sum + full(i, j) ** 2, 0)] as [number, number],
      [0, 0] as [number, number],
    );
    const found = finishSteps(eigenvalueSteps({ size: 3, pitch: 3, data: data.slice() }));
    expect(found.reduce((sum, value) => sum + value, 0)).toBeCloseTo(trace, 12);
    expect(found.reduce((sum, value) => sum + value * value, 0)).toBeCloseTo(squares, 12);
  });

  test("a matrix that is not finite ends, and says so", () => {
    const data = new Float64Array(16).fill(Number.NaN);
    expect(() => finishSteps(eigenvalueSteps({ size: 4, pitch: 4, data }))).toThrow("not finite");
  });
});

describe("singular values", () => {
  test("of any matrix, as Jacobi's rotations find them; ranks follow", () => {
    const sizes = fc.integer({ min: 1, max: 24 });
    fc.assert(
      fc.property(sizes, sizes, fc.integer(), fc.integer({ min: -30, max: 30 }), (rows, cols, seed, exponent) => {
        const next = source(seed);
        const data = Float32Array.from({ length: rows * cols }, () => next() * 2 ** exponent);
        const found = finishSteps(singularValueSteps({ rows, cols, data }));
        const wanted = jacobi(rows, cols, data);
        // Squaring leaves half the digits.
        expect(error(found, wanted)).toBeLessThan(1e-7);
        expect(numericalRank(found)).toBe(wanted.filter((value) => value > 1e-6 * (wanted[0] ?? 0)).length);
      }),
      { numRuns: 60 },
    );
  });

  const falling = (count: number, last: number) =>
    Array.from({ length: count }, (_, k) => 7 * last ** (k / Math.max(count - 1, 1)));
  test.each<[string, number, number, number[]]>([
    ["full rank, wide", 60, 130, falling(60, 1e-3)],
    ["full rank, tall: a second panel", 530, 37, falling(37, 1e-5)],
    ["all the same", 40, 50, Array.from({ length: 40 }, () => 2)],
    ["on both sides of the tolerance", 50, 70, [3, ...falling(20, 2e-6 / 7).map((one) => one / 7), 1.5e-6, 6e-7 * 3]],
    ["low rank", 120, 90, falling(7, 0.3)],
    ["low rank, tall", 90, 140, falling(5, 1e-4)],
    ["rank one", 33, 8, [4]],
  ])("that are known: %s", (_, rows, cols, values) => {
    const data = withValues(rows, cols, values);
    const sorted = values.toSorted((a, b) => b - a);
    const wanted = Array.from({ length: Math.min(rows, cols) }, (__, k) => sorted[k] ?? 0);
    const found = finishSteps(singularValueSteps({ rows, cols, data }));
    expect(error(found, wanted)).toBeLessThan(4e-7);
    const rank = values.filter((value) => value > 1e-6 * (sorted[0] ?? 0)).length;
    expect(numericalRank(found)).toBe(rank);
    // Elements that are rounded to f32, as ΔW has them.
    const rounded = finishSteps(singularValueSteps({ rows, cols, data: Float32Array.from(data) }));
    expect(numericalRank(rounded)).toBe(rank);
    expect(error(rounded, wanted)).toBeLessThan(1e-6);
  });

  test("of nothing there are none", () => {
    const found = finishSteps(singularValueSteps({ rows: 5, cols: 4, data: new Float32Array(20) }));
    expect([found.length, numericalRank(found), effectiveRank(found)]).toEqual([0, 0, 0]);
  });

  test("all work is told of, whichever way was taken; an aborted signal ends it", async () => {
    for (const [rows, cols, rank] of [
      [30, 40, 30],
      [90, 70, 2],
    ] as const) {
      let done = 0;
      const data = withValues(rows, cols, falling(rank, 0.5));
      finishSteps(singularValueSteps({ rows, cols, data }, (some) => (done += some)));
      expect(done / singularWork(rows, cols)).toBeGreaterThan(0.9);
      expect(done / singularWork(rows, cols)).toBeLessThan(1.2);
    }
    const steps = singularValueSteps({ rows: 30, cols: 40, data: withValues(30, 40, falling(30, 0.5)) });
    await expect(takeSteps(steps, AbortSignal.abort(new Error("stopped")))).rejects.toThrow("stopped");
  });
});

describe("the effective rank", () => {
  test("of equal values is their number, of one value 1", () => {
    expect(effectiveRank(Float64Array.of(2, 2, 2, 2))).toBeCloseTo(4, 12);
    expect(effectiveRank(Float64Array.of(5, 0, 0))).toBe(1);
  });

  test("does not depend on the scale, and lies between 1 and the number of values", () => {
    const values = fc.array(fc.double({ min: 1e-6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(values, fc.double({ min: 1e-3, max: 1e3, noNaN: true }), (given, scale) => {
        const rank = effectiveRank(Float64Array.from(given));
        expect(rank).toBeGreaterThanOrEqual(1 - 1e-9);
        expect(rank).toBeLessThanOrEqual(given.length * (1 + 1e-9));
        expect(effectiveRank(Float64Array.from(given, (value) => value * scale))).toBeCloseTo(rank, 6);
      }),
    );
  });
});
