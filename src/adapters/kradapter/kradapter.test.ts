import { expect, test } from "bun:test";
import { testFormula } from "../testing/formula.ts";
import { khatriRaoShape } from "./formula.ts";
import { KRADAPTER } from "./method.ts";

// Ranks below √long, above it (its whole part then), and 1, where V is as large as W.
testFormula(KRADAPTER, [
  [23, 10, 4],
  [10, 23, 1024],
  [12, 12, 1024],
  [9, 30, 1],
  [31, 6, 5],
]);

test("U has no row that ΔW leaves out, and the two have about 2 · short · √long elements by default", () => {
  for (let long = 1; long < 2000; long++) {
    for (const rank of [1, 2, 7, 1024]) {
      const { a, b, short, inRows } = khatriRaoShape({ out: 5, in: long }, rank);
      expect([short, inRows]).toEqual([Math.min(5, long), long <= 5]);
      const longer = Math.max(long, 5);
      expect(a * b).toBeGreaterThanOrEqual(longer);
      expect((a - 1) * b).toBeLessThan(longer);
      if (rank === 1024) expect(a + b).toBeLessThanOrEqual(2 * Math.sqrt(longer) + 2);
    }
  }
});
