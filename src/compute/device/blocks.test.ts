import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { BLOCK, fromBlocks, toBlocks } from "./blocks.ts";
import { tensorBytes } from "./tensor.ts";

const FORMATS = ["Q8_0", "Q4_0"] as const;

/** A block whose first elements are given; the rest is zero. */
function block(...values: readonly number[]): Float32Array<ArrayBuffer> {
  const all = new Float32Array(BLOCK);
  all.set(values);
  return all;
}

describe("Q8_0", () => {
  test("rounds to nearest, ties away from zero, by the f32 scale", () => {
    const { quants, scales } = toBlocks(block(127, 0.5, -0.5, 1.5, 2.49, -126.6), "Q8_0");
    expect([...new Int8Array(quants.buffer).slice(0, 7)]).toEqual([127, 1, -1, 2, 2, -127, 0]);
    expect([...scales]).toEqual([0x3c00]); // 1
  });

  test("stores the scale in f16, subnormal ones as well", () => {
    const small = block(127 * 2 ** -24 * 3);
    expect([...toBlocks(small, "Q8_0").scales]).toEqual([3]);
    expect([...fromBlocks(toBlocks(small, "Q8_0"), "Q8_0")]).toEqual([...small]);
  });
});

describe("Q4_0", () => {
  test("gives the number of the largest magnitude the code 0, and the rest 0 to 15", () => {
    const { quants, scales } = toBlocks(block(-8, 8, 7.4, 0, -7.6, 0.5), "Q4_0");
    // The first of equal magnitudes is the extreme one: the other end of the range is cut.
    expect(Array.from(quants.slice(0, 6), (byte) => byte & 15)).toEqual([0, 15, 15, 8, 0, 9]);
    expect([...scales]).toEqual([0x3c00]);
  });

  test("has the second half of a block in the high halves of its bytes", () => {
    const values = new Float32Array(BLOCK).fill(1);
    values[3] = -8;
    values[16 + 3] = 5;
    const { quants } = toBlocks(values, "Q4_0");
    expect(quants.length).toBe(16);
    expect(quants[3]).toBe(0 | (13 << 4));
    expect(quants[4]).toBe(9 | (9 << 4));
  });
});

describe.each(FORMATS)("%s", (dtype) => {
  test("a block of zeros has the scale 0", () => {
    const { scales } = toBlocks(new Float32Array(BLOCK), dtype);
    expect([...scales].map((bits) => bits & 0x7fff)).toEqual([0]); // of Q4_0 it is −0
    expect(fromBlocks(toBlocks(block(), dtype), dtype).every((value) => Math.abs(value) === 0)).toBe(true);
  });

  test("what is stored differs from what was by half a step, and is stored again as it is", () => {
    const blocks = fc.array(fc.float({ min: -4, max: 4, noNaN: true }), { minLength: 2 * BLOCK, maxLength: 2 * BLOCK });
    fc.assert(
      fc.property(blocks, (numbers) => {
        const values = Float32Array.from(numbers);
        const once = fromBlocks(toBlocks(values, dtype), dtype);
        // Q4_0 has one code more below zero than above: what is cut off there is a whole step.
        for (let first = 0; first < values.length; first += BLOCK) {
          const largest = values.subarray(first, first + BLOCK).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
          const step = dtype === "Q8_0" ? (0.51 * largest) / 127 : (1.01 * largest) / 8;
          for (let at = first; at < first + BLOCK; at++) {
            expect(Math.abs((once[at] ?? NaN) - (values[at] ?? NaN))).toBeLessThanOrEqual(step + 127 * 2 ** -25);
          }
        }
        expect(fromBlocks(toBlocks(once, dtype), dtype)).toEqual(once);
      }),
    );
  });

  test.each([NaN, Infinity, -Infinity])("%p in a block leaves no number of it", (value) => {
    for (const at of [0, 17]) {
      const values = new Float32Array(BLOCK).fill(0.5);
      values[at] = value;
      expect(fromBlocks(toBlocks(values, dtype), dtype).some(Number.isFinite)).toBe(false);
    }
  });

  test("takes 34 or 18 bytes a block", () => {
    expect(tensorBytes([7, 96], dtype)).toBe(7 * 3 * (dtype === "Q8_0" ? 34 : 18));
  });
});
