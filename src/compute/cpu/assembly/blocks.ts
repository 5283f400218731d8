// Matrices in blocks of whole numbers that share scales (src/compute/device/blocks.ts).
import { BF16, F16, is, load1, MXFP4, Q4_0, Q6_K, Q8_0, store1 } from "./stored";

export const BLOCK: u32 = 32;
/** 2^-25. */
const LEAST: u32 = 0x33000000;

/** The scale of an element of a row. */
// @ts-ignore: decorator
@inline
function scaleOf<T>(scales: usize, at: u32): f32 {
  if (is<T, Q6_K>()) return load<f32>(scales + (at / 16) * 4);
  const place = scales + (at / BLOCK) * 2;
  return is<T, MXFP4>() ? load1<BF16>(place) : load1<F16>(place);
}

/** What the halves of a byte of MXFP4 stand for. */
// @ts-ignore: decorator
@inline
function mxQuants(): v128 {
  return i8x16(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
}

/** Eight neighbors of a row, the first a multiple of eight elements after the begin of a block, as f32. */
// @ts-ignore: decorator
@inline
export function eight<T>(row: usize, scales: usize, at: u32, to: usize): void {
  const d = f32x4.splat(scaleOf<T>(scales, at));
  let bytes: v128;
  if (is<T, MXFP4>()) {
    const inner = at % BLOCK;
    const pairs = v128.load64_zero(row + (at / BLOCK) * 16 + (inner % 16));
    const halves = inner < 16 ? v128.and(pairs, i8x16.splat(15)) : i8x16.shr_u(pairs, 4);
    bytes = i16x8.extend_low_i8x16_s(v128.swizzle(mxQuants(), halves));
  } else if (!is<T, Q4_0>()) bytes = v128.load8x8_s(row + at);
  else {
    const inner = at % BLOCK;
    const pairs = v128.load8x8_u(row + (at / BLOCK) * 16 + (inner % 16));
    const halves = inner < 16 ? v128.and(pairs, i16x8.splat(15)) : i16x8.shr_u(pairs, 4);
    bytes = i16x8.sub(halves, i16x8.splat(8));
  }
  v128.store(to, f32x4.mul(d, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(bytes))));
  v128.store(to, f32x4.mul(d, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(bytes))), 16);
}

/** Rounds whole blocks to Q8_0, as blocks.ts of the device does. */
export function quantize(from: usize, count: u32, to: usize, scales: usize): void {
  for (let first: u32 = 0; first < count; first += BLOCK) {
    const x = from + first * 4;
    let most: u32 = 0;
    // As bits, which are in the order of the numbers; infinity and NaN are above all.
    for (let at: u32 = 0; at < BLOCK; at++) most = max(most, load<u32>(x + at * 4) & 0x7fffffff);
    const scale: f32 = reinterpret<f32>(most) / 127;
    store1<F16>(scales + (first / BLOCK) * 2, scale);
    // What is smaller is 0 in units of its f16.
    const inverse: f32 = most < 0x7f800000 && scale >= reinterpret<f32>(LEAST) ? 1 / scale : 0;
    for (let at: u32 = 0; at < BLOCK; at++) {
      const quotient = load<f32>(x + at * 4) * inverse;
      store<i8>(to + first + at, <i8>(<i32>(quotient + (quotient < 0 ? -0.5 : 0.5))));
    }
  }
}
