import fc from "fast-check";
import { describe, expect, test } from "bun:test";
import { refusalOf } from "../../files/testing/folder.ts";
import { fractionOf, shotsOf } from "./shuffle.ts";

const labels = fc.array(fc.nat(6), { minLength: 1, maxLength: 80 });
const seed = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

describe("shotsOf", () => {
  test("takes so many of each class, or all, in the set's order", () => {
    fc.assert(
      fc.property(labels, fc.integer({ min: 1, max: 9 }), seed, (labels, shots, seed) => {
        const chosen = shotsOf(labels, shots, seed);
        expect([...chosen]).toEqual([...new Set(chosen)].toSorted((a, b) => a - b));
        for (let label = 0; label < 7; label++) {
          const all = labels.filter((other) => other === label).length;
          expect(Array.from(chosen, (i) => labels[i]).filter((other) => other === label).length).toBe(
            Math.min(all, shots),
          );
        }
        // More shots keep those that there were.
        expect([...shotsOf(labels, shots + 1, seed)]).toEqual(expect.arrayContaining([...chosen]));
      }),
      { numRuns: 200 },
    );
  });

  test("draws by the seed", () => {
    const labels = Array.from({ length: 200 }, (_, i) => i % 2);
    expect(shotsOf(labels, 5, 1n)).toEqual(shotsOf(labels, 5, 1n));
    expect(shotsOf(labels, 5, 1n)).not.toEqual(shotsOf(labels, 5, 2n));
    expect(shotsOf(labels, 5, 1n).every((i) => i < 20)).toBe(false);
  });

  test.each([0, -1, 1.5, NaN])("refuses %d", async (shots) => {
    expect((await refusalOf(() => shotsOf([0], shots, 0n))).message).toStartWith(`--shots ${shots}`);
  });
});

describe("fractionOf", () => {
  test("takes a part, rounded down, at least one, drawn by the seed", () => {
    expect(fractionOf(1001, 0.5, 3n).length).toBe(500);
    expect(fractionOf(3, 0.01, 3n).length).toBe(1);
    expect([...fractionOf(4, 1, 3n)]).toEqual([0, 1, 2, 3]);
    expect(fractionOf(100, 0.5, 3n)).toEqual(fractionOf(100, 0.5, 3n));
    expect(fractionOf(100, 0.5, 3n)).not.toEqual(fractionOf(100, 0.5, 4n));
    const half = [...fractionOf(100, 0.5, 3n)];
    expect(half).toEqual([...new Set(half)].toSorted((a, b) => a - b));
  });

  test.each([0, -0.5, 1.5, NaN])("refuses %d", async (fraction) => {
    expect((await refusalOf(() => fractionOf(9, fraction, 0n))).message).toStartWith(`--fraction ${fraction}`);
  });
});
