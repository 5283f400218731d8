import { bf16ToF32, f16ToF32, f32ToBf16 } from "../../files/safetensors/numbers.ts";
import type { FloatGrid } from "./names.ts";

/** Bits of f32's mantissa that a grid lacks. */
export const DROPPED_BITS: Readonly<Record<FloatGrid, number>> = { f32: 0, f16: 13, bf16: 16 };

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);
const half = new Float16Array(1);
const halfBits = new Uint16Array(half.buffer);

/** The IEEE half pattern nearest to the f32 nearest to `value`, ties to even twice; beyond 65504 it is infinity. */
export function toF16Bits(value: number): number {
  half[0] = Math.fround(value);
  return halfBits[0] as number;
}

/** `value` as an f32, then on `grid`. */
export function roundToGrid(value: number, grid: FloatGrid): number {
  return grid === "f32" ? Math.fround(value) : fromHalfBits(toHalfBits(value, grid), grid);
}

/** The pattern on a 16-bit grid nearest to the f32 nearest to `value`, ties to even twice (as PyTorch casts a double); NaN stays NaN. */
export function toHalfBits(value: number, grid: "bf16" | "f16"): number {
  return grid === "bf16" ? f32ToBf16(value) : toF16Bits(value);
}

/** The number that a pattern of a 16-bit grid stands for. */
export function fromHalfBits(bits: number, grid: "bf16" | "f16"): number {
  return grid === "bf16" ? bf16ToF32(bits) : f16ToF32(bits);
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
