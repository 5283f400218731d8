import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { RandloraError } from "../../files/errors.ts";
import { Mt19937, mt19937Seed } from "./mt19937.ts";

/** The 32-bit output number `index` (from 0) for a seed. */
function output(key: bigint, index: number): number {
  const generator = new Mt19937(key);
  generator.skip(index);
  const out = new Uint32Array(1);
  generator.draw(out);
  return out[0] ?? 0;
}

describe("Mt19937", () => {
  test("agrees with the reference algorithm", () => {
    // std::mt19937 promises 4123659995 as output 10,000 of its default seed, 5489 (C++ standard, [rand.predef]).
    expect(output(5489n, 9999)).toBe(4123659995);
    // numpy.random.RandomState(0).randint(0, 2**32, dtype=uint32)
    expect([output(0n, 0), output(0n, 1)]).toEqual([2357136044, 2546248239]);
  });

  test("takes of a seed what PyTorch's manual_seed takes", () => {
    expect(mt19937Seed(-1n)).toBe(0xffffffff);
    expect(mt19937Seed(2n ** 40n + 7n)).toBe(7);
    expect(mt19937Seed(-(2n ** 63n))).toBe(0);
    expect(mt19937Seed(2n ** 64n - 1n)).toBe(0xffffffff);
    expect(() => mt19937Seed(2n ** 64n)).toThrow(RandloraError);
    expect(() => mt19937Seed(-(2n ** 63n) - 1n)).toThrow(RandloraError);
  });

  test("drawn in any portions, and skipped, is one stream", () => {
    const whole = new Uint32Array(5000);
    new Mt19937(42n).draw(whole);
    const portions = fc.array(fc.record({ count: fc.integer({ min: 0, max: 1500 }), skip: fc.boolean() }), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(portions, (steps) => {
        const generator = new Mt19937(42n);
        const out = new Uint32Array(whole.length);
        let at = 0;
        for (const { count, skip } of steps) {
          const end = Math.min(whole.length, at + count);
          if (skip) {
            generator.skip(end - at);
            out.set(whole.subarray(at, end), at);
          } else {
            generator.draw(out, at, end);
          }
          at = end;
        }
        generator.clone().draw(out, at);
        expect(out).toEqual(whole);
      }),
      { numRuns: 60 },
    );
  });
});
