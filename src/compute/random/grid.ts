import type { FloatGrid } from "./names.ts";

/** Bits of f32's mantissa that a grid lacks. */
export const DROPPED_BITS: Readonly<Record<FloatGrid, number>> = { f32: 0, f16: 13, bf16: 16 };

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);
const half = new Float16Array(1);
const halfBits = new Uint16Array(half.buffer);

/** The bf16 pattern nearest to the f32 nearest to `value`, ties to even twice (as PyTorch casts a double); NaN stays NaN. */
export function toBf16Bits(value: number): number {
  single[0] = value;
  const bits = singleBits[0] as number;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** The number that a bf16 pattern stands for. */
export function fromBf16Bits(bits: number): number {
  singleBits[0] = bits << 16;
  return single[0] as number;
}

/** The IEEE half pattern nearest to the f32 nearest to `value`, ties to even twice; beyond 65504 it is infinity. */
export function toF16Bits(value: number): number {
  half[0] = Math.fround(value);
  return halfBits[0] as number;
}

/** The number that an IEEE half pattern stands for. */
export function fromF16Bits(bits: number): number {
  halfBits[0] = bits;
  return half[0] as number;
}

/** `value` as an f32, then on `grid`. */
export function roundToGrid(value: number, grid: FloatGrid): number {
  if (grid === "bf16") return fromBf16Bits(toBf16Bits(value));
  if (grid === "f16") return fromF16Bits(toF16Bits(value));
  return Math.fround(value);
}

/** The pattern of `value` on a 16-bit grid. */
export function toHalfBits(value: number, grid: "bf16" | "f16"): number {
  return grid === "bf16" ? toBf16Bits(value) : toF16Bits(value);
}

/** The number that a pattern of a 16-bit grid stands for. */
export function fromHalfBits(bits: number, grid: "bf16" | "f16"): number {
  return grid === "bf16" ? fromBf16Bits(bits) : fromF16Bits(bits);
}

/**
 * Rounds the first `count` of `bits`, patterns of finite f32 numbers, to bf16 patterns at `out[at..]`; `swapped` becomes
 * `by`. A bare loop over integers: JavaScriptCore compiles it best.
 */
export function roundToBf16(
  bits: Int32Array,
  count: number,
  out: Uint16Array,
  at: number,
  swapped = -1,
  by = swapped,
): void {
  for (let i = 0; i < count; i++) {
    const pattern = bits[i] as number;
    const rounded = (pattern + 0x7fff + ((pattern >>> 16) & 1)) >>> 16;
    out[at + i] = rounded === swapped ? by : rounded;
  }
}

/** The same to f16, of numbers that it can hold; several times as fast as a `Float16Array` (Bun 1.4). */
export function roundToF16(
  bits: Int32Array,
  count: number,
  out: Uint16Array,
  at: number,
  swapped = -1,
  by = swapped,
): void {
  for (let i = 0; i < count; i++) {
    const pattern = bits[i] as number;
    const magnitude = pattern & 0x7fffffff;
    let rounded = (pattern >>> 16) & 0x8000;
    // At least 2^-14: the exponent's bias falls from 127 to 15. Below it numbers are subnormal, and rare.
    if (magnitude >= 0x38800000) rounded |= ((magnitude + 0xfff + ((magnitude >>> 13) & 1)) >>> 13) - (112 << 10);
    else rounded = subnormalF16(pattern);
    out[at + i] = rounded === swapped ? by : rounded;
  }
}

function subnormalF16(pattern: number): number {
  singleBits[0] = pattern;
  return toF16Bits(single[0] as number);
}
