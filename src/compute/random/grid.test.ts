import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { fromHalfBits, roundToGrid, toHalfBits } from "./grid.ts";

const patterns = Array.from({ length: 65536 }, (_, bits) => bits);

describe.each(["bf16", "f16"] as const)("%s", (grid) => {
  const from = (bits: number) => fromHalfBits(bits, grid);
  const to = (value: number) => toHalfBits(value, grid);

  test("every pattern comes back", () => {
    const numbers = patterns.filter((bits) => !Number.isNaN(from(bits)));
    expect(numbers.map((bits) => to(from(bits)))).toEqual(numbers);
    expect(from(to(Number.NaN))).toBeNaN();
  });

  test("rounds to the nearest, ties to the even pattern", () => {
    const finite = patterns.filter((bits) => bits < 0x7800);
    for (const bits of finite) {
      const low = from(bits);
      const high = from(bits + 1);
      const middle = (low + high) / 2;
      expect(to(middle)).toBe(bits % 2 === 0 ? bits : bits + 1);
      expect(to(low + (high - low) * 0.25)).toBe(bits);
      expect(to(low + (high - low) * 0.75)).toBe(bits + 1);
    }
  });

  test("rounding is symmetric and rounds no number twice", () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true }), (value) => {
        const rounded = roundToGrid(value, grid);
        expect(roundToGrid(rounded, grid)).toBe(rounded);
        expect(roundToGrid(-value, grid)).toBe(-rounded);
      }),
      { numRuns: 200 },
    );
  });
});
