import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { roundToGrid, toHalfBits } from "./grid.ts";
import { countTernary, packTernary, ternaryCuts } from "./ternary.ts";
import { halfDtype, halfUniform, kaimingUniformBound, singleUniform, type HalfGenerator } from "./uniform.ts";

const draw = fc.oneof(
  fc.integer({ min: 0, max: 0xffffffff }),
  fc.integer({ min: 0x7ffff0, max: 0x800010 }),
  fc.constantFrom(0, 0xffffff, 0xfffffe, 1, 0x80000000, 0xffffffff),
);
const fan = fc.integer({ min: 1, max: 20_000 });

/** The f32 nearest to numerator / 2^shift, ties to even, in big integers. */
function nearestSingle(numerator: bigint, shift: number): number {
  if (numerator === 0n) return 0;
  const size = numerator < 0n ? -numerator : numerator;
  const drop = Math.max(0, size.toString(2).length - 24);
  const unit = 1n << BigInt(drop);
  let kept = size / unit;
  const rest = (size % unit) * 2n;
  if (rest > unit || (rest === unit && kept % 2n === 1n)) kept++;
  return Math.sign(Number(numerator)) * Number(kept) * 2 ** (drop - shift);
}

/** fma(u·2⁻²⁴, hi − lo, lo) as the hardware does it: exact product and sum, one rounding. lo = −hi, both f32. */
function fused(u: number, bound: number): number {
  const high = BigInt(Math.fround(bound) * 2 ** 48);
  const width = BigInt(Math.fround(2 * Math.fround(bound)) * 2 ** 48);
  return nearestSingle(BigInt(u & 0xffffff) * width - (high << 24n), 72);
}

describe("uniform draws of torch 2.13", () => {
  test("f32: one rounding, as a fused multiply-add", () => {
    fc.assert(
      fc.property(draw, fan, (u, fan) => {
        const bound = kaimingUniformBound(fan);
        const out = new Float32Array(1);
        singleUniform(bound).map(Uint32Array.of(u), 1, out, 0);
        expect(out[0]).toBe(fused(u, bound));
        singleUniform(bound).mapAndDivide(Uint32Array.of(u), 1, Math.fround(0.0577), out, 0);
        expect(out[0]).toBe(Math.fround(fused(u, bound) / Math.fround(0.0577)));
      }),
      { numRuns: 300 },
    );
  });

  test.each<HalfGenerator>(["torch-mt19937-bf16-v2", "torch-mt19937-f16-v2"])("%s: then to 16 bits", (generator) => {
    const dtype = halfDtype(generator);
    fc.assert(
      fc.property(draw, fan, (u, fan) => {
        const bound = kaimingUniformBound(fan);
        const out = new Uint16Array(1);
        halfUniform(generator, bound)(Uint32Array.of(u), 1, out, 0);
        const value = roundToGrid(fused(u, bound), dtype);
        const expected = value >= roundToGrid(bound, dtype) ? roundToGrid(-bound, dtype) : value;
        expect(out[0]).toBe(toHalfBits(expected, dtype));
      }),
      { numRuns: 300 },
    );
  });
});

test.each<[HalfGenerator, number]>([
  ["torch-mt19937-bf16-v1", 8],
  ["torch-mt19937-f16-v1", 11],
])("%s uses the lowest %i bits", (generator, bits) => {
  const map = halfUniform(generator, kaimingUniformBound(64));
  const values = Uint32Array.from({ length: 2 ** bits }, (_, i) => i);
  const [plain, high] = [new Uint16Array(values.length), new Uint16Array(values.length)];
  map(values, values.length, plain, 0);
  map(
    values.map((value) => value | (0xabcdef << bits)),
    values.length,
    high,
    0,
  );
  expect(high).toEqual(plain);
  const dtype = halfDtype(generator);
  expect(plain[0]).toBe(toHalfBits(-kaimingUniformBound(64), dtype));
  expect(plain[values.length / 2]).toBe(0);
});

test("a map writes where it is told, across its own portions", () => {
  const draws = Uint32Array.from({ length: 10_000 }, (_, i) => Math.imul(i, 2654435761));
  for (const generator of ["torch-mt19937-bf16-v2", "torch-mt19937-f16-v2"] as const) {
    const map = halfUniform(generator, 0.1);
    const out = new Uint16Array(10_003).fill(7);
    map(draws, 10_000, out, 2);
    expect([out[0], out[1], out[10_002]]).toEqual([7, 7, 7]);
    const one = new Uint16Array(1);
    for (const at of [0, 4095, 4096, 9999]) {
      map(draws.subarray(at, at + 1), 1, one, 0);
      expect(out[at + 2]).toBe(one[0]);
    }
  }
});

describe("ternary draws", () => {
  const settings = fc.record({
    sparsity: fc.constantFrom("sparse" as const, "very-sparse" as const),
    min: fc.integer({ min: 1, max: 20_000 }),
    draws: fc.array(fc.integer({ min: 0, max: 0xffffffff }), { maxLength: 60 }),
  });

  test("are cut where PEFT compares", () => {
    fc.assert(
      fc.property(settings, ({ sparsity, min, draws }) => {
        const cuts = ternaryCuts(sparsity, min);
        const s = sparsity === "sparse" ? 3 : Math.sqrt(min);
        const near = [cuts.low - 1, cuts.low, cuts.high, cuts.high + 1].map((u) => u & 0xffffff);
        const all = Uint32Array.from([...near, ...draws]);
        const signs = Array.from(all, (u) => {
          const uniform = (u & 0xffffff) * 2 ** -24;
          if (uniform > Math.fround(1 - 1 / (2 * s))) return 1;
          return uniform < Math.fround(1 / (2 * s)) ? -1 : 0;
        });
        const out = new Uint32Array(1 + Math.ceil(all.length / 16));
        packTernary(all, 0, all.length, cuts, out, 16);
        const codes = Array.from({ length: (out.length - 1) * 16 }, (_, i) => {
          return ((out[1 + (i >>> 4)] ?? 0) >>> ((i & 15) * 2)) & 3;
        });
        expect(out[0]).toBe(0);
        expect(codes.slice(0, all.length).map((code) => [0, 1, -1, Number.NaN][code])).toEqual(signs);
        expect(codes.slice(all.length).every((code) => code === 0)).toBe(true);
        const count = (sign: number): number => signs.filter((other) => other === sign).length;
        expect(countTernary(all, all.length, cuts)).toEqual({ plus: count(1), minus: count(-1) });
      }),
      { numRuns: 150 },
    );
  });
});
