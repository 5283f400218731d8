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
  if (!isSigned<T>()) return i32x4.shl(v128.load16x4_u(at), 16);
  return halves(v128.load16x4_u(at));
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
  const magnitude = i32x4.shl(v128.and(h, i32x4.splat(0x7fff)), 13);
  const sign = i32x4.shl(v128.and(h, i32x4.splat(0x8000)), 16);
  const value = f32x4.mul(magnitude, f32x4.splat(reinterpret<f32>(0x77800000)));
  const special = i32x4.gt_s(magnitude, i32x4.splat(0x0f7fffff));
  const bits = v128.or(magnitude, v128.and(special, i32x4.splat(0x7f800000)));
  return v128.or(sign, v128.bitselect(bits, value, special));
}
