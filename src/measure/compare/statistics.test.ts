import { expect, test } from "bun:test";
import { detectable, pairedP, pairsToTell, spreadOf, studentP } from "./statistics.ts";

test("mean and sample deviation", () => {
  expect(spreadOf([2, 4, 4, 4, 5, 5, 7, 9])).toEqual({ mean: 5, deviation: Math.sqrt(32 / 7) });
  expect(spreadOf([3])).toEqual({ mean: 3, deviation: null });
  expect(spreadOf([])).toBeUndefined();
});

// Closed forms of Student's distribution with few degrees of freedom.
const CLOSED: Readonly<Record<number, (t: number) => number>> = {
  1: (t) => 1 - (2 / Math.PI) * Math.atan(t),
  2: (t) => 1 - t / Math.sqrt(2 + t * t),
  3: (t) => 1 - (2 / Math.PI) * (t / Math.sqrt(3) / (1 + (t * t) / 3) + Math.atan(t / Math.sqrt(3))),
  4: (t) => {
    const u = (t * t) / (4 + t * t);
    return 1 - Math.sqrt(u) * (1 + (1 - u) / 2);
  },
};

test.each(Object.entries(CLOSED))("Student's t with %s degrees of freedom", (freedom, exact) => {
  for (let t = 0; t < 60; t = t * 1.3 + 0.01) {
    expect(Math.abs(studentP(t, Number(freedom)) - exact(t))).toBeLessThan(1e-12);
    expect(studentP(-t, Number(freedom))).toBe(studentP(t, Number(freedom)));
  }
});

test.each([
  // Quantiles of printed tables, two-sided 5 %, 1 %.
  [4.302653, 2, 0.05],
  [2.776445, 4, 0.05],
  [2.262157, 9, 0.05],
  [2.756386, 29, 0.01],
  [1.983972, 100, 0.05],
  [1.962339, 1000, 0.05],
])("the quantile %d with %d degrees of freedom is at %d", (t, freedom, p) => {
  expect(studentP(t, freedom)).toBeCloseTo(p, 6);
});

test("paired: the differences decide, not how far pairs scatter together", () => {
  // Mean 0.1, deviation 0.01: t = 0.1 / (0.01 / √3), two degrees of freedom.
  expect(pairedP([0.09, 0.1, 0.11])).toBeCloseTo(CLOSED[2]?.(10 * Math.sqrt(3)) ?? NaN, 10);
  expect(pairedP([1])).toBe(1);
  expect(pairedP([])).toBe(1);
  expect(pairedP([0, 0, 0])).toBe(1);
  expect(pairedP([-0.5, -0.5])).toBe(0);
});

test("what seeds can tell is found in four of five comparisons", () => {
  // t of 9 degrees of freedom: 2.262157 at 5 %, 0.883404 at 40 %, two-sided.
  expect(detectable(10, 0.05)).toBeCloseTo((2.262157 + 0.883404) / Math.sqrt(10), 5);
  let state = 7;
  const uniform = () => (state = (state * 48271) % 2147483647) / 2147483647;
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  for (const [seeds, level] of [
    [3, 0.04],
    [5, 0.02],
    [10, 0.01],
  ] as const) {
    const mean = detectable(seeds, level);
    const found = Array.from({ length: 4000 }, () => pairedP(Array.from({ length: seeds }, () => mean + normal())));
    expect(Math.abs(found.filter((p) => p < level).length / found.length - 0.8)).toBeLessThan(0.07);
    expect(pairsToTell(mean, level, 20)).toBe(seeds);
  }
  expect(pairsToTell(0.1, 0.05, 20)).toBeUndefined();
});
