import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { FloatDtype, WritableFloatDtype } from "./dtype.ts";
import {
  bf16ToF32,
  f16ToF32,
  f32BitsToBf16Bits,
  f32BitsToF16Bits,
  f32ToBf16,
  f64ToBf16,
  f64ToF16,
  roundFromF32,
  roundFromF64,
  widenToF32,
  widenToF64,
} from "./numbers.ts";

/** The value of a binary floating number with the given widths, straight from IEEE 754's definition. */
function valueOf(bits: number, exponentBits: number, mantissaBits: number): number {
  const sign = bits >>> (exponentBits + mantissaBits) === 0 ? 1 : -1;
  const exponent = (bits >>> mantissaBits) & (2 ** exponentBits - 1);
  const mantissa = bits & (2 ** mantissaBits - 1);
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return mantissa === 0 ? sign * Infinity : Number.NaN;
  const fraction = mantissa / 2 ** mantissaBits;
  return exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias);
}

const FORMATS = [
  {
    name: "BF16",
    value: (bits: number) => valueOf(bits, 8, 7),
    infinity: 0x7f80,
    widen: bf16ToF32,
    fromF32: f32ToBf16,
    fromF64: f64ToBf16,
    fromBits: f32BitsToBf16Bits,
  },
  {
    name: "F16",
    value: (bits: number) => valueOf(bits, 5, 10),
    infinity: 0x7c00,
    widen: f16ToF32,
    fromF32: (value: number) => f32BitsToF16Bits(new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0),
    fromF64: f64ToF16,
    fromBits: f32BitsToF16Bits,
  },
] as const;

for (const { name, value, infinity, widen, fromF32, fromF64, fromBits } of FORMATS) {
  /** Value of positive `bits`; infinity stands where the next power of two would be, as rounding sees it. */
  const ladder = (bits: number) => (bits < infinity ? value(bits) : 2 * value(infinity - 1) - value(infinity - 2));

  /** The nearest bits by comparing distances in f64, ties to even: nothing shared with the code under test. */
  function nearest(x: number): number {
    const magnitude = Math.abs(x);
    let low = 0;
    let high: number = infinity;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (ladder(middle) <= magnitude) low = middle;
      else high = middle;
    }
    const below = magnitude - ladder(low);
    const above = ladder(high) - magnitude;
    const bits = above < below || (above === below && high % 2 === 0) ? high : low;
    return Object.is(Math.sign(x), -1) || Object.is(x, -0) ? bits + 0x8000 : bits;
  }

  describe(name, () => {
    test("all 65536 values widen exactly and come back bit for bit", () => {
      let wrong = 0;
      for (let bits = 0; bits < 0x10000; bits++) {
        const expected = value(bits);
        if (!Object.is(widen(bits), expected)) wrong++;
        if (Number.isNaN(expected)) continue;
        if (fromF32(expected) !== bits || fromF64(expected) !== bits) wrong++;
      }
      expect(wrong).toBe(0);
    });

    test("every midpoint between neighbors goes to the even one, and one ulp beside it to the nearer", () => {
      const f32 = new Float32Array(1);
      const u32 = new Uint32Array(f32.buffer);
      let wrong = 0;
      for (let bits = 0; bits < infinity; bits++) {
        const middle = (ladder(bits) + ladder(bits + 1)) / 2;
        for (const sign of [1, -1]) {
          f32[0] = sign * middle;
          const exact = u32[0] ?? 0;
          for (const near of [exact - 1, exact, exact + 1]) {
            u32[0] = near;
            const x = f32[0] ?? 0;
            if (!Number.isNaN(x) && fromBits(near) !== nearest(x)) wrong++;
          }
          // A hair from the midpoint, far below f32: two roundings would land on the tie.
          for (const x of [sign * middle * (1 - 2 ** -52), sign * middle, sign * middle * (1 + 2 ** -52)]) {
            if (fromF64(x) !== nearest(x)) wrong++;
          }
        }
      }
      expect(wrong).toBe(0);
    });

    test("any f32 and any f64 is rounded to the nearest", () => {
      fc.assert(
        fc.property(fc.float({ noNaN: true }), fc.double({ noNaN: true }), (single, double) => {
          expect(fromF32(single)).toBe(nearest(single));
          expect(fromF64(single)).toBe(nearest(single));
          expect(fromF64(double)).toBe(nearest(double));
        }),
        { numRuns: 3000 },
      );
    });

    test("NaN stays NaN, whatever its payload; infinities, zeros and overflow keep their sign", () => {
      for (const bits of [0x7f800001, 0x7fffffff, 0xff800001, 0xffc00000, 0x7fc00000, 0x7f80ffff]) {
        expect(value(fromBits(bits))).toBeNaN();
        expect(fromBits(bits) >>> 15).toBe(bits >>> 31);
        // As typed arrays of signed integers give them.
        expect(fromBits(bits | 0)).toBe(fromBits(bits));
      }
      expect(value(fromF64(Number.NaN))).toBeNaN();
      for (const x of [Infinity, -Infinity, 0, -0]) expect(value(fromF32(x))).toBe(x);
      for (const x of [3.4028234663852886e38, 1e300, Number.MAX_VALUE]) {
        expect(value(fromF64(x))).toBe(Infinity);
        expect(value(fromF64(-x))).toBe(-Infinity);
      }
      expect(value(fromF64(Number.MIN_VALUE))).toBe(0);
      expect(value(fromF64(-Number.MIN_VALUE))).toBe(-0);
    });
  });
}

test("F16 agrees with the engine's own half floats", () => {
  const view = new DataView(new ArrayBuffer(2));
  fc.assert(
    fc.property(fc.double({ min: -70000, max: 70000, noNaN: true }), (x) => {
      view.setFloat16(0, x);
      expect(f64ToF16(x)).toBe(view.getUint16(0));
      expect(f16ToF32(view.getUint16(0))).toBe(view.getFloat16(0));
    }),
    { numRuns: 2000 },
  );
});

test("8-bit floats widen as OCP FP8 defines them", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const out = new Float32Array(256);
  widenToF32(bytes, "F8_E5M2", out);
  expect([...out]).toEqual([...bytes].map((bits) => valueOf(bits, 5, 2)));
  widenToF32(bytes, "F8_E4M3", out);
  for (const bits of bytes) {
    const top = (bits & 0x78) === 0x78;
    // All ones is NaN; the rest of the highest exponent are numbers up to 448.
    const expected =
      (bits & 0x7f) === 0x7f ? Number.NaN : top ? (bits > 127 ? -1 : 1) * (256 + 32 * (bits & 7)) : valueOf(bits, 4, 3);
    expect(out[bits]).toBe(expected);
  }
});

const WRITABLE: readonly WritableFloatDtype[] = ["F64", "F32", "F16", "BF16"];
const SIZE: Readonly<Record<FloatDtype, number>> = { F64: 8, F32: 4, F16: 2, BF16: 2, F8_E4M3: 1, F8_E5M2: 1 };

test("bulk conversions equal the scalar ones, at any alignment", () => {
  const scalar: Readonly<Record<WritableFloatDtype, (x: number) => number>> = {
    F64: (x) => x,
    F32: Math.fround,
    F16: (x) => f16ToF32(f64ToF16(x)),
    BF16: (x) => bf16ToF32(f64ToBf16(x)),
  };
  const values = fc.array(fc.oneof(fc.double(), fc.double({ min: -10, max: 10 })), { maxLength: 40 });
  fc.assert(
    fc.property(values, fc.constantFrom(...WRITABLE), fc.nat(7), (numbers, dtype, shift) => {
      const doubles = Float64Array.from(numbers);
      const singles = Float32Array.from(numbers);
      const bytes = new Uint8Array(64 + numbers.length * SIZE[dtype]).fill(0xaa);
      const out = bytes.subarray(8 + shift, 8 + shift + numbers.length * SIZE[dtype]);
      const wide = new Float64Array(numbers.length);
      const narrow = new Float32Array(numbers.length);
      for (const [from, round] of [
        [doubles, () => roundFromF64(doubles, dtype, out)],
        [singles, () => roundFromF32(singles, dtype, out)],
      ] as const) {
        round();
        widenToF64(out, dtype, wide);
        widenToF32(out, dtype, narrow);
        expect([...wide]).toEqual([...from].map((x) => scalar[dtype](x)));
        expect([...narrow]).toEqual([...from].map((x) => Math.fround(scalar[dtype](x))));
      }
      // Nothing beside the range was touched.
      expect(bytes.subarray(0, 8 + shift).every((byte) => byte === 0xaa)).toBe(true);
      expect(bytes.subarray(8 + shift + out.length).every((byte) => byte === 0xaa)).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test("F32 bits pass through untouched, signalling NaN included", () => {
  const bytes = new Uint8Array(new Uint32Array([0x7f800001, 0xffc12345, 1, 0x80000000]).buffer);
  const values = new Float32Array(4);
  const back = new Uint8Array(16);
  widenToF32(bytes, "F32", values);
  roundFromF32(values, "F32", back);
  expect(back).toEqual(bytes);
});

test("lengths that do not agree are refused", () => {
  expect(() => widenToF32(new Uint8Array(7), "BF16", new Float32Array(4))).toThrow(RangeError);
  expect(() => widenToF64(new Uint8Array(7), "F32", new Float64Array(2))).toThrow(RangeError);
  expect(() => roundFromF32(new Float32Array(4), "F16", new Uint8Array(9))).toThrow(RangeError);
  expect(() => roundFromF64(new Float64Array(1), "F64", new Uint8Array(4))).toThrow(RangeError);
});
