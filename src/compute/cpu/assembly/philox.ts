// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011) for four counters at a time, and the element maps of philox-v1.
// src/compute/random/philox.ts has the same functions; both give the same bits.

/** Four blocks of 16 bytes, one after the other, of the counters that the lanes of four vectors hold. */
export function philoxFour(x: v128, y: v128, z: v128, w: v128, keyLow: u32, keyHigh: u32, to: usize): void {
  const m0 = i32x4.splat(0xd2511f53);
  const m1 = i32x4.splat(0xcd9e8d57);
  let k0 = i32x4.splat(keyLow);
  let k1 = i32x4.splat(keyHigh);
  for (let round = 0; round < 10; round++) {
    const a = i64x2.extmul_low_i32x4_u(m0, x);
    const b = i64x2.extmul_high_i32x4_u(m0, x);
    const c = i64x2.extmul_low_i32x4_u(m1, z);
    const d = i64x2.extmul_high_i32x4_u(m1, z);
    x = v128.xor(v128.xor(v128.shuffle<i32>(c, d, 1, 3, 5, 7), y), k0);
    z = v128.xor(v128.xor(v128.shuffle<i32>(a, b, 1, 3, 5, 7), w), k1);
    y = v128.shuffle<i32>(c, d, 0, 2, 4, 6);
    w = v128.shuffle<i32>(a, b, 0, 2, 4, 6);
    k0 = i32x4.add(k0, i32x4.splat(0x9e3779b9));
    k1 = i32x4.add(k1, i32x4.splat(0xbb67ae85));
  }
  const low = v128.shuffle<i32>(x, y, 0, 4, 1, 5);
  const high = v128.shuffle<i32>(x, y, 2, 6, 3, 7);
  const lowRest = v128.shuffle<i32>(z, w, 0, 4, 1, 5);
  const highRest = v128.shuffle<i32>(z, w, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<i64>(low, lowRest, 0, 2));
  v128.store(to, v128.shuffle<i64>(low, lowRest, 1, 3), 16);
  v128.store(to, v128.shuffle<i64>(high, highRest, 0, 2), 32);
  v128.store(to, v128.shuffle<i64>(high, highRest, 1, 3), 48);
}

/** Blocks `block` … of 16 bytes with the counters (low, high, z, w); up to three more than `count` are written. */
export function philoxBlocks(block: u64, count: u32, z: u32, w: u32, keyLow: u32, keyHigh: u32, to: usize): void {
  for (let at: u32 = 0; at < count; at += 4) {
    const one = i64x2.add(i64x2.splat(block + at), i64x2(0, 1));
    const two = i64x2.add(i64x2.splat(block + at), i64x2(2, 3));
    const low = v128.shuffle<i32>(one, two, 0, 2, 4, 6);
    const high = v128.shuffle<i32>(one, two, 1, 3, 5, 7);
    philoxFour(low, high, i32x4.splat(z), i32x4.splat(w), keyLow, keyHigh, to + at * 16);
  }
}

/** Four bytes, each in a lane. */
// @ts-ignore: decorator
@inline
function bytes4(at: usize): v128 {
  return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(at)));
}

/** Four bytes b as the whole numbers 2b − 255. */
// @ts-ignore: decorator
@inline
export function units4(at: usize): v128 {
  return f32x4.convert_i32x4_s(i32x4.sub(i32x4.shl(bytes4(at), 1), i32x4.splat(255)));
}

/**
 * Four bytes b as (2b − 255)/255 · √(765/257): the factor is a number of 13 bits, whose product is exact, and a rest.
 * `dropped`: bits of f32 that the grid lacks, which are rounded away to nearest, ties to even.
 */
// @ts-ignore: decorator
@inline
export function dense4(at: usize, dropped: u32): v128 {
  const odd = units4(at);
  const high = f32x4.mul(odd, f32x4.splat(0.006765842437744141));
  const bits = f32x4.add(high, f32x4.mul(odd, f32x4.splat(3.2649047909671935e-8)));
  const rest: u32 = (1 << dropped) - 1;
  const last = v128.and(i32x4.shr_u(bits, dropped), i32x4.splat(rest & 1));
  return v128.and(i32x4.add(i32x4.add(bits, i32x4.splat(rest >> 1)), last), i32x4.splat(~rest));
}

/** Four bytes as 1 above 212, −1 below 43, else 0. */
// @ts-ignore: decorator
@inline
export function sparse4(at: usize): v128 {
  const bytes = bytes4(at);
  return signs(i32x4.gt_s(bytes, i32x4.splat(212)), i32x4.lt_s(bytes, i32x4.splat(43)));
}

/** Four numbers of 16 bits as 1 from 65536 − threshold on, −1 below the threshold, else 0. */
// @ts-ignore: decorator
@inline
export function verySparse4(at: usize, threshold: u32): v128 {
  const numbers = v128.load16x4_u(at);
  return signs(
    i32x4.ge_s(numbers, i32x4.splat(65536 - threshold)),
    i32x4.lt_s(numbers, i32x4.splat(threshold)),
  );
}

/** 1 where a mask is set, −1 where another is, else 0. */
// @ts-ignore: decorator
@inline
export function signs(plus: v128, minus: v128): v128 {
  return v128.or(v128.and(plus, f32x4.splat(1)), v128.and(minus, f32x4.splat(-1)));
}
