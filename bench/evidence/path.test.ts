import { expect, test } from "bun:test";
import { along, barrier } from "./path.ts";

// A loss that is a plane, which every straight way shows exactly; and one with a ridge between A and C.
const axis = (from: number, to: number) => Array.from({ length: 11 }, (_, at) => from + (at * (to - from)) / 10);
const [x, y] = [axis(-0.5, 1.5), axis(-0.5, 1.5)];
const of = (value: (x: number, y: number) => number) => ({ x, y, loss: y.map((b) => x.map((a) => value(a, b))) });

test("losses on the way between corners", () => {
  const flat = of((a, b) => 1 + 2 * a - b);
  const way = along(flat, "A", "B");
  expect(way[0]).toBeCloseTo(1, 9);
  expect(way.at(-1)).toBeCloseTo(1, 9); // 1 + 2 · 0.5 − 1
  expect(along(flat, "C", "B")[20]).toBeCloseTo(1 + 2 * 0.75 - 0.5, 9);
  expect(barrier(along(flat, "A", "C"))).toBeCloseTo(0, 9);
  const ridge = of((a) => 1 - Math.abs(a - 0.5));
  expect(barrier(along(ridge, "A", "C"))).toBeGreaterThan(0.35);
});
