import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { itemAt } from "../../files/item-at.ts";
import { finishSteps } from "../frozen/drawing/bases.ts";
import { noise } from "../merge/testing/models.ts";
import { singularValues } from "../testing/singular-values.ts";
import { type BestFactors, bestFactorSteps, bestFactorsWork, type Kept } from "./to-lora.ts";

const ALL: Kept = { rank: undefined, energy: 1 };

function factors(rows: number, cols: number, data: Float32Array | Float64Array, kept: Kept = ALL): BestFactors {
  return finishSteps(bestFactorSteps({ rows, cols, data }, kept));
}

const random = (rows: number, cols: number, seed: number, size = 1) => {
  const next = noise(seed);
  return Float32Array.from({ length: rows * cols }, () => size * next());
};

/** ‖A − Σ left·rightᵀ‖. */
function distance(rows: number, cols: number, data: ArrayLike<number>, { left, right }: BestFactors): number {
  let squares = 0;
  for (let at = 0; at < rows * cols; at++) {
    const [row, col] = [Math.floor(at / cols), at % cols];
    const sum = left.reduce((total, one, k) => total + itemAt(one, row) * itemAt(right[k] ?? [], col), 0);
    squares += (itemAt(data, at) - sum) ** 2;
  }
  return Math.sqrt(squares);
}

/** The largest cosine between two of these vectors. */
function skew(vectors: readonly Float64Array[]): number {
  const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, at) => sum + value * itemAt(b, at), 0);
  const pairs = vectors.flatMap((a, index) =>
    vectors.slice(0, index).map((b) => dot(a, b) ** 2 / dot(a, a) / dot(b, b)),
  );
  return Math.sqrt(Math.max(0, ...pairs));
}

/** Matrices with a hard spectrum: equal values, two groups, blocks that do not touch, zeros. */
const diagonal = (size: number, value: (at: number) => number) =>
  Float64Array.from({ length: size * size }, (_, at) => (at % (size + 1) === 0 ? value(at / (size + 1)) : 0));

describe("all of a matrix is kept", () => {
  test.each<[string, number, number, ArrayLike<number>, number]>([
    ["wide", 30, 71, random(30, 71, 1), 30],
    ["tall", 71, 30, random(71, 30, 2), 30],
    ["square", 64, 64, random(64, 64, 3), 64],
    ["one row", 1, 9, random(1, 9, 4), 1],
    ["one element", 1, 1, [-3], 1],
    ["all values the same", 40, 40, diagonal(40, () => 2), 40],
    ["two values, far from each other", 24, 24, diagonal(24, (at) => (at < 9 ? 5 : 1e-4)), 24],
    ["zeros among them", 24, 24, diagonal(24, (at) => at % 3), 16],
    ["tiny", 20, 31, random(20, 31, 5, 1e-25), 20],
    ["large", 20, 31, random(20, 31, 6, 1e18), 20],
  ])("%s", (_, rows, cols, data, rank) => {
    const values = Float64Array.from(data);
    const found = factors(rows, cols, values);
    const norm = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
    expect(found.left.length).toBe(rank);
    expect(distance(rows, cols, values, found) / norm).toBeLessThan(1e-13);
    expect(Math.sqrt(found.squares) / norm).toBeCloseTo(1, 12);
    expect(found.leftOut / found.squares).toBeLessThan(1e-12);
    expect(skew(rows <= cols ? found.left : found.right)).toBeLessThan(1e-13);
    expect(skew(rows <= cols ? found.right : found.left)).toBeLessThan(1e-7);
  });

  test("of zeros nothing is", () => {
    expect(factors(4, 6, new Float32Array(24))).toEqual({ left: [], right: [], squares: 0, leftOut: 0 });
  });

  test("of a matrix of low rank in f32 so many directions are: the others are its rounding", () => {
    const [b, a] = [random(90, 5, 7), random(5, 60, 8)];
    const data = Float32Array.from({ length: 90 * 60 }, (_, at) => {
      const [row, col] = [Math.floor(at / 60), at % 60];
      return [0, 1, 2, 3, 4].reduce((sum, k) => sum + itemAt(b, row * 5 + k) * itemAt(a, k * 60 + col), 0);
    });
    const found = factors(90, 60, data);
    expect(found.left.length).toBe(5);
    expect(distance(90, 60, data, found) / Math.sqrt(found.squares)).toBeLessThan(1e-7);
  });
});

test("so many directions leave what no product of that rank can have, and lie half in either factor", () => {
  const sizes = fc.integer({ min: 1, max: 20 });
  fc.assert(
    fc.property(sizes, sizes, sizes, fc.integer(), (rows, cols, rank, seed) => {
      const data = random(rows, cols, seed);
      const found = factors(rows, cols, data, { rank, energy: undefined });
      const values = singularValues(data, rows, cols);
      expect(found.left.length).toBe(Math.min(rank, rows, cols));
      const left = Math.sqrt(values.slice(rank).reduce((sum, value) => sum + value * value, 0));
      const norm = Math.hypot(...values);
      expect(Math.abs(distance(rows, cols, data, found) - left) / norm).toBeLessThan(1e-7);
      expect(Math.abs(Math.sqrt(found.leftOut) - left) / norm).toBeLessThan(1e-7);
      for (const [k, one] of found.left.entries()) {
        const [a, b] = [Math.hypot(...one), Math.hypot(...(found.right[k] ?? []))];
        expect(a / b).toBeCloseTo(1, 6);
        expect(Math.abs(a * b - itemAt(values, k)) / norm).toBeLessThan(1e-7);
      }
    }),
    { numRuns: 60 },
  );
});

test("the lowest rank that keeps the energy is taken, and no more than a rank that is given beside it", () => {
  const data = diagonal(4, (at) => [4, 2, 2, 1][at] ?? 0); // 16, 4, 4, 1 of 25
  const ranks = [0.1, 0.64, 0.65, 0.8, 0.81, 0.96, 0.97, 1].map((energy) => {
    return factors(4, 4, data, { rank: undefined, energy }).left.length;
  });
  expect(ranks).toEqual([1, 1, 2, 2, 3, 3, 4, 4]);
  const capped = factors(4, 4, data, { rank: 2, energy: 0.99 });
  expect([capped.left.length, capped.leftOut / capped.squares]).toEqual([2, expect.closeTo(5 / 25, 12)]);
});

test("work is told of, and about as much as was said; a matrix that is not finite ends", () => {
  for (const kept of [ALL, { rank: 3, energy: undefined }]) {
    let done = 0;
    const matrix = { rows: 120, cols: 200, data: random(120, 200, 9) };
    finishSteps(bestFactorSteps(matrix, kept, (some) => (done += some)));
    expect(done / bestFactorsWork(120, 200, kept)).toBeGreaterThan(0.5);
    expect(done / bestFactorsWork(120, 200, kept)).toBeLessThan(1.5);
  }
  expect(() => factors(2, 2, Float64Array.of(1, NaN, 0, 1))).toThrow("not finite");
});
