import { expect, test } from "bun:test";
import fc from "fast-check";
import { contour } from "./svg.ts";

test("of a slope a straight line, where the level is", () => {
  const rows = Array.from({ length: 3 }, () => [0, 1, 2, 3]);
  expect(contour(rows, 1.25)).toEqual([
    [
      [1.25, 0],
      [1.25, 1],
    ],
    [
      [1.25, 1],
      [1.25, 2],
    ],
  ]);
  expect(contour(rows, 5)).toEqual([]);
});

test("of a hill a closed ring", () => {
  const rows = Array.from({ length: 21 }, (_, y) => Array.from({ length: 21 }, (__, x) => Math.hypot(x - 10, y - 10)));
  const ring = contour(rows, 6.1);
  expect(ring.length).toBeGreaterThan(20);
  const ends = new Map<string, number>();
  for (const segment of ring) {
    for (const [x, y] of segment) {
      expect(Math.abs(Math.hypot(x - 10, y - 10) - 6.1)).toBeLessThan(0.05);
      const place = `${x.toFixed(9)} ${y.toFixed(9)}`;
      ends.set(place, (ends.get(place) ?? 0) + 1);
    }
  }
  expect([...ends.values()].every((count) => count === 2)).toBe(true);
});

test("of a saddle the corners belong together that the middle belongs to", () => {
  // High at the lower left and upper right: a high middle cuts the lower right corner off.
  const high = contour(
    [
      [3, -1],
      [-1, 3],
    ],
    0,
  );
  expect(high).toEqual([
    [
      [0.75, 0],
      [1, 0.25],
    ],
    [
      [0, 0.75],
      [0.25, 1],
    ],
  ]);
  const low = contour(
    [
      [1, -3],
      [-3, 1],
    ],
    0,
  );
  expect(low).toEqual([
    [
      [0, 0.25],
      [0.25, 0],
    ],
    [
      [1, 0.75],
      [0.75, 1],
    ],
  ]);
});

test("lines end at the edge of the grid alone", () => {
  const value = fc.double({ min: -1, max: 1, noNaN: true });
  fc.assert(
    fc.property(fc.array(fc.array(value, { minLength: 5, maxLength: 5 }), { minLength: 5, maxLength: 5 }), (rows) => {
      const ends = new Map<string, { count: number; isEdge: boolean }>();
      for (const segment of contour(rows, 0.1)) {
        for (const [x, y] of segment) {
          const place = `${x.toFixed(12)} ${y.toFixed(12)}`;
          const isEdge = x === 0 || y === 0 || x === 4 || y === 4;
          ends.set(place, { count: (ends.get(place)?.count ?? 0) + 1, isEdge });
        }
      }
      for (const { count, isEdge } of ends.values()) expect(isEdge || count % 2 === 0).toBe(true);
    }),
  );
});
