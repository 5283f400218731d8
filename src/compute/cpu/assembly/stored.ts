// JavaScriptCore turns a swizzle with a constant mask into one instruction, but a shuffle of two vectors into three and a
// shift into four: so bytes are moved by swizzles.

/** How numbers lie in memory, by the host's codes. */
export const enum Format {
  F32,
  F16,
  BF16,
  Q8_0,
  Q4_0,
  Q6_K,
  MXFP4,
}

// The same as types: what is called with one is compiled for each that there is. Single numbers:
export class F32 {}
/** Half precision. */
export class F16 {}
/** The upper half of an f32. */
export class BF16 {}
// Blocks (blocks.ts):
export class Q8_0 {}
export class Q4_0 {}
export class Q6_K {}
export class MXFP4 {}

// @ts-ignore: decorator
@inline
export function is<T, F>(): bool {
  return idof<T>() == idof<F>();
}

/** Bytes of `count` stored numbers that are in no blocks. */
// @ts-ignore: decorator
@inline
export function storedBytes<T>(count: usize): usize {
  return is<T, F32>() ? count * 4 : count * 2;
}

/** Four stored numbers, as f32. */
// @ts-ignore: decorator
@inline
export function load4<T>(at: usize): v128 {
  if (is<T, F32>()) return v128.load(at);
  if (is<T, BF16>()) return v128.swizzle(v128.load64_zero(at), i8x16(-1, -1, 0, 1, -1, -1, 2, 3, -1, -1, 4, 5, -1, -1, 6, 7));
  return halves(v128.load16x4_u(at));
}

/** One stored number, as f32. */
// @ts-ignore: decorator
@inline
export function load1<T>(at: usize): f32 {
  if (is<T, F32>()) return load<f32>(at);
  if (is<T, BF16>()) return reinterpret<f32>(<u32>load<u16>(at) << 16);
  return half(load<u16>(at));
}

/** One IEEE half as f32; see `halves`. */
// @ts-ignore: decorator
@inline
function half(h: u32): f32 {
  const magnitude = (h & 0x7fff) << 13;
  const value = reinterpret<u32>(reinterpret<f32>(magnitude) * reinterpret<f32>(0x77800000));
  const bits = magnitude > 0x0f7fffff ? magnitude | 0x7f800000 : value;
  return reinterpret<f32>(bits | ((h & 0x8000) << 16));
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

/** The upper halves of f32, rounded: to nearest, ties to even; NaN stays NaN. What is below them is anything. */
// @ts-ignore: decorator
@inline
function roundUpper(value: v128): v128 {
  const upper = v128.swizzle(value, i8x16(2, -1, -1, -1, 6, -1, -1, -1, 10, -1, -1, -1, 14, -1, -1, -1));
  const odd = v128.and(upper, i32x4.splat(1));
  const rounded = i32x4.add(i32x4.add(value, i32x4.splat(0x7fff)), odd);
  return v128.bitselect(rounded, v128.or(value, i32x4.splat(0x400000)), f32x4.eq(value, value));
}

/**
 * Four f32 as IEEE halves in the low halves of the lanes, rounded in the same way. Normal numbers lose 13 bits and 112 of the exponent.
 * Subnormal ones are whole numbers of 2^-24, which are the last bits of an f32 from 1/2 on: adding 1/2 rounds to them. From 65536 on there is only infinity.
 */
// @ts-ignore: decorator
@inline
function roundHalves(value: v128): v128 {
  const magnitude = v128.and(value, i32x4.splat(0x7fffffff));
  const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
  const wide = i32x4.shr_u(i32x4.add(i32x4.add(magnitude, i32x4.splat(0xfff)), odd), 13);
  const normal = i32x4.sub(wide, i32x4.splat(112 << 10));
  const small = i32x4.sub(f32x4.add(magnitude, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  let half = v128.bitselect(small, normal, i32x4.lt_s(magnitude, i32x4.splat(0x38800000)));
  half = v128.bitselect(i32x4.splat(0x7c00), half, i32x4.gt_s(magnitude, i32x4.splat(0x477fffff)));
  half = v128.bitselect(i32x4.splat(0x7e00), half, i32x4.gt_s(magnitude, i32x4.splat(0x7f800000)));
  return v128.or(half, v128.and(i32x4.shr_u(value, 16), i32x4.splat(0x8000)));
}

/** What a format keeps of four f32. */
// @ts-ignore: decorator
@inline
export function rounded4<T>(value: v128): v128 {
  if (is<T, F32>()) return value;
  if (is<T, BF16>()) return v128.and(roundUpper(value), i32x4.splat(0xffff0000));
  return halves(roundHalves(value));
}

/** Stores four f32 in a format. */
// @ts-ignore: decorator
@inline
export function store4<T>(at: usize, value: v128): void {
  if (is<T, F32>()) v128.store(at, value);
  else v128.store64_lane(at, round4<T>(value), 0);
}

/** Four f32 in 16 bits each. */
// @ts-ignore: decorator
@inline
function round4<T>(value: v128): v128 {
  if (is<T, BF16>()) return v128.swizzle(roundUpper(value), i8x16(2, 3, 6, 7, 10, 11, 14, 15, -1, -1, -1, -1, -1, -1, -1, -1));
  return v128.swizzle(roundHalves(value), i8x16(0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1));
}

/** Stores one f32 in a format of 16 bits. */
// @ts-ignore: decorator
@inline
export function store1<T>(at: usize, value: f32): void {
  store<u16>(at, <u16>i16x8.extract_lane_u(round4<T>(f32x4.splat(value)), 0));
}
