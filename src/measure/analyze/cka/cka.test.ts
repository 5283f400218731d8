import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { batchesOf, cka, type Representations } from "./cka.ts";

/** (rows, width) of repeatable numbers around a mean of 1, so that centring matters. */
function representations(rows: number, width: number, seed: number): Representations {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31;
  };
  return { width, rows: Float32Array.from({ length: rows * width }, next) };
}

type Matrix = readonly (readonly number[])[];
const rowsOf = ({ width, rows }: Representations): Matrix =>
  Array.from({ length: rows.length / width }, (_, i) => [...rows.subarray(i * width, (i + 1) * width)]);
const at = (m: Matrix, i: number, j: number) => m[i]?.[j] ?? NaN;
const transposed = (m: Matrix): Matrix => (m[0] ?? []).map((_, j) => m.map((row) => row[j] ?? NaN));
const product = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => (b[0] ?? []).map((_, j) => row.reduce((sum, value, k) => sum + value * at(b, k, j), 0)));
const trace = (m: Matrix) => m.reduce((sum, row, i) => sum + (row[i] ?? NaN), 0);
const total = (m: Matrix) => m.flat().reduce((sum, value) => sum + value, 0);

/** ‖YᵀX‖²_F / (‖XᵀX‖_F ‖YᵀY‖_F) of centred columns, through the features. */
function fullByFeatures(x: Representations, y: Representations): number {
  const centre = (m: Matrix): Matrix => {
    const means = transposed(m).map((column) => total([column]) / m.length);
    return m.map((row) => row.map((value, j) => value - (means[j] ?? NaN)));
  };
  const [a, b] = [centre(rowsOf(x)), centre(rowsOf(y))];
  const norm = (m: Matrix) => Math.sqrt(m.flat().reduce((sum, value) => sum + value * value, 0));
  return norm(product(transposed(b), a)) ** 2 / (norm(product(transposed(a), a)) * norm(product(transposed(b), b)));
}

/** HSIC₁ as matrices say it. */
function hsic(x: Matrix, y: Matrix): number {
  const n = x.length;
  const gram = (m: Matrix) => product(m, transposed(m)).map((row, i) => row.map((value, j) => (i === j ? 0 : value)));
  const [k, l] = [gram(x), gram(y)];
  const kl = product(k, l);
  return (trace(kl) + (total(k) * total(l)) / ((n - 1) * (n - 2)) - (2 / (n - 2)) * total(kl)) / (n * (n - 3));
}

const FULL = { estimator: "full", batchSize: 64 } as const;

describe("linear CKA", () => {
  test("full is the definition by features", async () => {
    const [x, y] = [representations(9, 5, 1), representations(9, 7, 2)];
    expect(await cka(x, y, FULL)).toBeCloseTo(fullByFeatures(x, y), 12);
  });

  test("minibatch is the ratio of sums of HSIC₁; a last batch below 4 is left out", async () => {
    const [x, y] = [representations(14, 5, 3), representations(14, 3, 4)];
    const [a, b] = [rowsOf(x), rowsOf(y)];
    const sum = (p: Matrix, q: Matrix) =>
      [0, 6].reduce((all, first) => all + hsic(p.slice(first, first + 6), q.slice(first, first + 6)), 0);
    const wanted = sum(a, b) / Math.sqrt(sum(a, a) * sum(b, b));
    expect(await cka(x, y, { estimator: "minibatch", batchSize: 6 })).toBeCloseTo(wanted, 10);
    expect(batchesOf(14, 6)).toEqual([
      [0, 6],
      [6, 12],
    ]);
    expect(batchesOf(16, 6).at(-1)).toEqual([12, 16]);
  });

  test("is 1 for what is rotated, scaled and moved, and the same both ways round", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1e6 }),
        fc.double({ min: 0.1, max: 10, noNaN: true }),
        fc.double({ min: 0, max: 6, noNaN: true }),
        fc.constantFrom("full", "minibatch"),
        async (seed, scale, angle, estimator) => {
          const options = { estimator, batchSize: 8 } as const;
          const x = representations(16, 2, seed);
          const turned = rowsOf(x).flatMap(([a = 0, b = 0]) => [
            scale * (Math.cos(angle) * a - Math.sin(angle) * b) + 3,
            scale * (Math.sin(angle) * a + Math.cos(angle) * b) - 1,
          ]);
          const y = { width: 2, rows: Float32Array.from(turned) };
          expect(await cka(x, y, options)).toBeCloseTo(1, 4);
          const other = representations(16, 3, seed + 1);
          expect(await cka(x, other, options)).toBeCloseTo(await cka(other, x, options), 10);
        },
      ),
      { numRuns: 30 },
    );
  });

  test("is not a number where nothing varies", async () => {
    const still = { width: 2, rows: new Float32Array(16).fill(2) };
    for (const estimator of ["full", "minibatch"] as const) {
      expect(await cka(still, representations(8, 2, 1), { estimator, batchSize: 8 })).toBeNaN();
    }
  });

  test("refuses other numbers of samples, and too few", async () => {
    await expect(cka(representations(8, 2, 1), representations(9, 2, 1), FULL)).rejects.toThrow(RangeError);
    await expect(cka(representations(3, 2, 1), representations(3, 2, 1), FULL)).rejects.toThrow(RangeError);
  });
});
