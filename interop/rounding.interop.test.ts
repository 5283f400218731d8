import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { decode, roundOnce, ulp } from "./rounding.ts";

const runs = { numRuns: 2000 };
const anyNumber = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.double({ min: -70000, max: 70000, noNaN: true }),
);

describe("roundOnce", () => {
  test("is the hardware's rounding to f32", () => {
    fc.assert(
      fc.property(anyNumber, (x) => roundOnce(x, "f32") === Math.fround(x)),
      runs,
    );
  });

  test("is the engine's rounding to f16", () => {
    fc.assert(
      fc.property(anyNumber, (x) => roundOnce(x, "f16") === Math.f16round(x)),
      runs,
    );
  });

  test("gives bf16 neighbors, ties to even, without rounding to f32 on the way", () => {
    expect(roundOnce(1 + 2 ** -8, "bf16")).toBe(1);
    expect(roundOnce(1 + 3 * 2 ** -8, "bf16")).toBe(1 + 2 ** -6);
    expect(roundOnce(-(1 + 2 ** -8), "bf16")).toBe(-1);
    // Above the tie by less than f32 can tell: f32 first would make it a tie, and then even.
    expect(roundOnce(1 + 2 ** -8 + 2 ** -40, "bf16")).toBe(1 + 2 ** -7);
    expect(roundOnce(2 ** -134, "bf16")).toBe(0);
    expect(roundOnce(1.5 * 2 ** -134, "bf16")).toBe(2 ** -133);
    expect(roundOnce(3.4e38, "bf16")).toBe(Infinity);
    expect(roundOnce(3.38e38, "bf16")).toBeLessThan(3.4e38);
  });
});

test("ulp is the distance to the next number, subnormals included", () => {
  expect(ulp(1, "bf16")).toBe(2 ** -7);
  expect(ulp(-1.99, "f16")).toBe(2 ** -10);
  expect(ulp(0, "f16")).toBe(2 ** -24);
  expect(ulp(2 ** -140, "f32")).toBe(2 ** -149);
});

test("decode widens stored bits", () => {
  expect([...decode("BF16", new Uint8Array([0x80, 0x3f, 0x00, 0xc0]))]).toEqual([1, -2]);
  expect([...decode("F16", new Uint8Array([0x00, 0x3c, 0x01, 0x00]))]).toEqual([1, 2 ** -24]);
});
