import * as fc from "fast-check";
import { describe, expect, test } from "bun:test";
import { nearestSize } from "./budget.ts";
import { isAdapterMethod, METHODS } from "./methods.ts";
import type { Capacity, ModuleShape } from "./method/method.ts";

const MODULES: readonly ModuleShape[] = [
  { out: 40, in: 24 },
  { out: 24, in: 64 },
  { out: 7, in: 31 },
  { out: 40, in: 24 },
  { out: 40, in: 24, experts: 3 },
];

/** A capacity of its own: `count` of a value, up to `most`. */
function made(most: number, count: (value: number) => number): Capacity {
  return { setting: "rank", most: () => most, count: (_, value) => count(value), flops: () => 0 };
}

describe.each(METHODS.filter(isAdapterMethod))("$name", ({ training: { capacity } }) => {
  test("no size that it can have is nearer", () => {
    const most = Math.min(capacity.most(MODULES), 4096);
    const counts = Array.from({ length: most }, (_, i) => capacity.count(MODULES, i + 1, {}));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20_000 }), (budget) => {
        const { value, parameters } = nearestSize(capacity, MODULES, budget, {}, 4096);
        expect(value).toBeGreaterThanOrEqual(1);
        expect(value).toBeLessThanOrEqual(most);
        expect(parameters).toBe(capacity.count(MODULES, value, {}));
        const least = Math.min(...counts.map((count) => Math.abs(count - budget)));
        expect(Math.abs(parameters - budget)).toBe(least);
      }),
    );
  });
});

test("of two that are equally near the one with fewer numbers, then the smaller value", () => {
  expect(
    nearestSize(
      made(8, (value) => 10 * value),
      [],
      25,
    ),
  ).toEqual({ value: 2, parameters: 20 });
  expect(
    nearestSize(
      made(8, (value) => 80 - 10 * value),
      [],
      25,
    ),
  ).toEqual({ value: 6, parameters: 20 });
  expect(
    nearestSize(
      made(8, () => 5),
      [],
      7,
    ),
  ).toEqual({ value: 1, parameters: 5 });
});

test("a setting without an end is found exactly, and so is one with many values", () => {
  const linear = (value: number) => 3 * value + 1;
  const some = Array.from({ length: 1000 }, () => ({ out: 1, in: 1 }));
  for (const most of [Infinity, 1e15]) {
    expect(nearestSize(made(most, linear), some, 3e13)).toEqual({ value: 1e13, parameters: 3e13 + 1 });
  }
  // So many shapes that not every value is counted.
  const many = Array.from({ length: 10_000 }, (_, i) => ({ out: i, in: 1 }));
  expect(nearestSize(made(1e6, linear), many, 3 * 777_777)).toEqual({ value: 777_777, parameters: 2_333_332 });
  expect(
    nearestSize(
      made(1e6, (value) => 4e6 - linear(value)),
      many,
      2_500_000,
    ).value,
  ).toBe(500_000);
});

test("what cannot be reached ends at the largest value, the caller's or the method's", () => {
  expect(
    nearestSize(
      made(100, (value) => value),
      [],
      1e9,
    ),
  ).toEqual({ value: 100, parameters: 100 });
  expect(
    nearestSize(
      made(100, (value) => value),
      [],
      1e9,
      {},
      10,
    ),
  ).toEqual({ value: 10, parameters: 10 });
  expect(
    nearestSize(
      made(Infinity, (value) => value),
      [],
      1e9,
      {},
      10,
    ),
  ).toEqual({ value: 10, parameters: 10 });
});
