// JavaScriptCore turns a swizzle with a constant mask into one instruction, but a shuffle of two vectors into three and a
// shift into four: so bytes are moved by swizzles.

// How numbers lie in memory, as types: f32 is F32, u16 the upper half of an f32 (BF16), i16 IEEE's half (F16).

/** Bytes of `count` stored numbers. */
// @ts-ignore: decorator
@inline
export function storedBytes<T>(count: usize): usize {
  return count * sizeof<T>();
}

/** Four stored numbers, as f32. */
// @ts-ignore: decorator
@inline
export function load4<T>(at: usize): v128 {
  if (isFloat<T>()) return v128.load(at);
  if (!isSigned<T>()) return v128.swizzle(v128.load64_zero(at), i8x16(-1, -1, 0, 1, -1, -1, 2, 3, -1, -1, 4, 5, -1, -1, 6, 7));
  return halves(v128.load16x4_u(at));
}

/** Of eight stored numbers, given as the 16 bytes of the first and the last of them, the first four as f32. */
// @ts-ignore: decorator
@inline
export function first4<T>(v: v128): v128 {
  if (isFloat<T>()) return v;
  if (!isSigned<T>()) return v128.swizzle(v, i8x16(-1, -1, 0, 1, -1, -1, 2, 3, -1, -1, 4, 5, -1, -1, 6, 7));
  return halves(i32x4.extend_low_i16x8_u(v));
}

/** The others; `at` is where the eight begin. */
// @ts-ignore: decorator
@inline
export function last4<T>(v: v128, at: usize): v128 {
  if (isFloat<T>()) return v128.load(at, 16);
  if (!isSigned<T>()) return v128.swizzle(v, i8x16(-1, -1, 8, 9, -1, -1, 10, 11, -1, -1, 12, 13, -1, -1, 14, 15));
  return halves(i32x4.extend_high_i16x8_u(v));
}

/** One stored number, as f32. */
// @ts-ignore: decorator
@inline
export function load1<T>(at: usize): f32 {
  if (isFloat<T>()) return load<f32>(at);
  if (!isSigned<T>()) return reinterpret<f32>(<u32>load<u16>(at) << 16);
  return f32x4.extract_lane(halves(i32x4.splat(load<u16>(at))), 0);
}

/**
 * IEEE halves in the lower halves of four lanes, as f32: exponent and fraction move to their places in an f32, and a
 * product with 2^112 corrects the exponent's bias, of subnormal numbers as well; infinities and NaN get the f32's exponent.
 */
// @ts-ignore: decorator
@inline
export function halves(h: v128): v128 {
  const magnitude = i32x4.mul(v128.and(h, i32x4.splat(0x7fff)), i32x4.splat(1 << 13));
  const sign = v128.swizzle(v128.and(h, i32x4.splat(0x8000)), i8x16(-1, -1, 0, 1, -1, -1, 4, 5, -1, -1, 8, 9, -1, -1, 12, 13));
  const value = f32x4.mul(magnitude, f32x4.splat(reinterpret<f32>(0x77800000)));
  const special = i32x4.gt_s(magnitude, i32x4.splat(0x0f7fffff));
  const bits = v128.or(magnitude, v128.and(special, i32x4.splat(0x7f800000)));
  return v128.or(sign, v128.bitselect(bits, value, special));
}
