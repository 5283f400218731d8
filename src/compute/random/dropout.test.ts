import { describe, expect, test } from "bun:test";
import { dropoutFactor, type DropoutMask, dropoutScale } from "./dropout.ts";

const SIZE = 256;

function factors(mask: DropoutMask): number[] {
  return Array.from({ length: SIZE * SIZE }, (_, at) => dropoutFactor(mask, Math.floor(at / SIZE), at % SIZE));
}

const mask = (rate: number, key: [number, number], stream: [number, number]): DropoutMask => ({ rate, key, stream });

describe("dropout", () => {
  test.each([0.05, 0.1, 0.5, 0.9])("drops its share, %p, and keeps the expectation", (rate) => {
    const drawn = factors(mask(rate, [7, 0], [3, 1]));
    const dropped = drawn.filter((factor) => factor === 0).length / drawn.length;
    // Five standard deviations of a share of that many draws.
    expect(Math.abs(dropped - rate)).toBeLessThan(5 * Math.sqrt((rate * (1 - rate)) / drawn.length));
    const { threshold, scale } = dropoutScale(rate);
    expect(scale * (1 - threshold / 65536)).toBeCloseTo(1, 12);
    expect(new Set(drawn)).toEqual(new Set([0, scale]));
  });

  test("keeps all at rate 0, and never divides by zero", () => {
    expect(new Set(factors(mask(0, [1, 2], [3, 4])))).toEqual(new Set([1]));
    expect(Number.isFinite(dropoutScale(1 - 1e-9).scale)).toBe(true);
  });

  test("other seeds and other streams draw other masks, which agree by chance alone", () => {
    const drawn = [
      mask(0.5, [7, 0], [3, 1]),
      mask(0.5, [8, 0], [3, 1]),
      mask(0.5, [7, 1], [3, 1]),
      mask(0.5, [7, 0], [4, 1]),
      mask(0.5, [7, 0], [3, 2]),
    ].map(factors);
    for (const [index, some] of drawn.entries()) {
      for (const others of drawn.slice(index + 1)) {
        const equal = some.filter((factor, at) => factor === others[at]).length / some.length;
        expect(Math.abs(equal - 0.5)).toBeLessThan(0.01);
      }
    }
  });

  test.each([1, -0.1, Number.NaN])("refuses the rate %p", (rate) => {
    expect(() => dropoutScale(rate)).toThrow("a probability from 0 to below 1");
  });
});
