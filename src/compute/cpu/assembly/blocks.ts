// Matrices in blocks of 32 whole numbers with a scale (src/compute/device/blocks.ts), as types: i8 is Q8_0, u8 is Q4_0.
//
// Along the terms their products are of whole numbers: a row of x is rounded to 15 bits and a scale for each 256 terms,
// and a vector multiplies eight pairs. The sums of a block are exact; scaled, they are added as one lane each of f32.
import { sumOf } from "./lanes";
import { load1, storedBytes } from "./stored";

export const BLOCK: u32 = 32;
/** Rows of a panel. */
export const BLOCK_ROWS: u32 = 6;
/** Bytes of a block in a panel, whole numbers of 16 bits of six rows, and of their scales, which stand behind all blocks. */
export const PANEL_WHOLES: usize = 384; // 32 * 6 * 2
export const PANEL_SCALES: usize = 24;

/** The largest whole number that x is rounded to. */
const MOST: f32 = 16383;

/** Rounds `terms` numbers, whole blocks, to 16 bits; returns what these are to be multiplied by. */
export function roundTerms(x: usize, terms: u32, to: usize): f32 {
  let most = f32x4.splat(0);
  for (let at: usize = 0; at < <usize>terms * 4; at += 16) most = f32x4.max(most, f32x4.abs(v128.load(x + at)));
  const largest = max(
    max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
    max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
  );
  // What is not finite makes all sums NaN.
  const scale = largest / MOST;
  const inverse = f32x4.splat(largest > 0 ? MOST / largest : 0);
  for (let at: usize = 0; at < <usize>terms * 4; at += 32) {
    const a = f32x4.nearest(f32x4.mul(v128.load(x + at), inverse));
    const b = f32x4.nearest(f32x4.mul(v128.load(x + at, 16), inverse));
    v128.store(to + at / 2, i16x8.narrow_i32x4_s(i32x4.trunc_sat_f32x4_s(a), i32x4.trunc_sat_f32x4_s(b)));
  }
  return largest - largest == 0 ? scale : NaN;
}

/** The whole numbers of a block, to 16 bits each. */
// @ts-ignore: decorator
@inline
function wholes<T>(from: usize, to: usize): void {
  if (isSigned<T>()) {
    const a = v128.load(from);
    const b = v128.load(from, 16);
    v128.store(to, i16x8.extend_low_i8x16_s(a));
    v128.store(to, i16x8.extend_high_i8x16_s(a), 16);
    v128.store(to, i16x8.extend_low_i8x16_s(b), 32);
    v128.store(to, i16x8.extend_high_i8x16_s(b), 48);
  } else {
    const v = v128.load(from);
    const a = i8x16.sub(v128.and(v, i8x16.splat(15)), i8x16.splat(8));
    const b = i8x16.sub(i8x16.shr_u(v, 4), i8x16.splat(8));
    v128.store(to, i16x8.extend_low_i8x16_s(a));
    v128.store(to, i16x8.extend_high_i8x16_s(a), 16);
    v128.store(to, i16x8.extend_low_i8x16_s(b), 32);
    v128.store(to, i16x8.extend_high_i8x16_s(b), 48);
  }
}

/** A panel of six rows: the blocks of all, one after another, and then their scales. Missing rows are the last one. */
export function blockPanel<T>(
  from: usize, pitch: usize, scales: usize, scalesPitch: usize, rows: u32, blocks: u32, to: usize,
): void {
  const toScales = to + blocks * PANEL_WHOLES;
  for (let row: u32 = 0; row < BLOCK_ROWS; row++) {
    const at = <usize>min(row, rows - 1);
    for (let block: u32 = 0; block < blocks; block++) {
      wholes<T>(from + at * pitch + storedBytes<T>(block * BLOCK), to + (block * BLOCK_ROWS + row) * 64);
      store<f32>(toScales + (block * BLOCK_ROWS + row) * 4, load1<i16>(scales + at * scalesPitch + block * 2));
    }
  }
}

/** The products of a rounded row with blocks of a panel, six numbers. */
export function blockTile(x: usize, scale: f32, panel: usize, scales: usize, blocks: u32, to: usize): void {
  let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0), s4 = f32x4.splat(0), s5 = f32x4.splat(0);
  const end = x + <usize>blocks * 64;
  while (x < end) {
    const a = v128.load(x);
    const b = v128.load(x, 16);
    const c = v128.load(x, 32);
    const d = v128.load(x, 48);
    s0 = withBlock(s0, a, b, c, d, panel, scales);
    s1 = withBlock(s1, a, b, c, d, panel + 64, scales + 4);
    s2 = withBlock(s2, a, b, c, d, panel + 128, scales + 8);
    s3 = withBlock(s3, a, b, c, d, panel + 192, scales + 12);
    s4 = withBlock(s4, a, b, c, d, panel + 256, scales + 16);
    s5 = withBlock(s5, a, b, c, d, panel + 320, scales + 20);
    x += 64;
    panel += 384;
    scales += 24;
  }
  store<f32>(to, scale * sumOf(s0)), store<f32>(to, scale * sumOf(s1), 4), store<f32>(to, scale * sumOf(s2), 8);
  store<f32>(to, scale * sumOf(s3), 12), store<f32>(to, scale * sumOf(s4), 16), store<f32>(to, scale * sumOf(s5), 20);
}

/** Adds the scaled products of a block. */
// @ts-ignore: decorator
@inline
function withBlock(sum: v128, a: v128, b: v128, c: v128, d: v128, wholes: usize, scale: usize): v128 {
  const low = i32x4.add(i32x4.dot_i16x8_s(a, v128.load(wholes)), i32x4.dot_i16x8_s(b, v128.load(wholes, 16)));
  const high = i32x4.add(i32x4.dot_i16x8_s(c, v128.load(wholes, 32)), i32x4.dot_i16x8_s(d, v128.load(wholes, 48)));
  return f32x4.add(sum, f32x4.mul(f32x4.convert_i32x4_s(i32x4.add(low, high)), v128.load32_splat(scale)));
}

/** The product of a rounded row with one as it is stored, to the same bits. */
export function blockSum<T>(x: usize, scale: f32, w: usize, scales: usize, blocks: u32): f32 {
  let sum = f32x4.splat(0);
  for (const end = x + <usize>blocks * 64; x < end; x += 64) {
    const d = f32x4.splat(load1<i16>(scales));
    sum = f32x4.add(sum, f32x4.mul(f32x4.convert_i32x4_s(blockDot<T>(x, w)), d));
    w += storedBytes<T>(BLOCK);
    scales += 2;
  }
  return scale * sumOf(sum);
}

/** Σ x·q of a block, over four lanes. */
// @ts-ignore: decorator
@inline
function blockDot<T>(x: usize, w: usize): v128 {
  const v = v128.load(w);
  if (isSigned<T>()) {
    const u = v128.load(w, 16);
    const low = i32x4.add(
      i32x4.dot_i16x8_s(v128.load(x), i16x8.extend_low_i8x16_s(v)),
      i32x4.dot_i16x8_s(v128.load(x, 16), i16x8.extend_high_i8x16_s(v)),
    );
    const high = i32x4.add(
      i32x4.dot_i16x8_s(v128.load(x, 32), i16x8.extend_low_i8x16_s(u)),
      i32x4.dot_i16x8_s(v128.load(x, 48), i16x8.extend_high_i8x16_s(u)),
    );
    return i32x4.add(low, high);
  }
  // The high halves of bytes are left sixteen times too large, as a shift would cost more than these products.
  const a = i8x16.sub(v128.and(v, i8x16.splat(15)), i8x16.splat(8));
  const b = v128.xor(v128.and(v, i8x16.splat(-16)), i8x16.splat(-128));
  const low = i32x4.add(
    i32x4.dot_i16x8_s(v128.load(x), i16x8.extend_low_i8x16_s(a)),
    i32x4.dot_i16x8_s(v128.load(x, 16), i16x8.extend_high_i8x16_s(a)),
  );
  const high = i32x4.add(
    i32x4.dot_i16x8_s(v128.load(x, 32), i16x8.extend_low_i8x16_s(b)),
    i32x4.dot_i16x8_s(v128.load(x, 48), i16x8.extend_high_i8x16_s(b)),
  );
  return i32x4.add(low, i32x4.shr_s(high, 4));
}

/** Eight neighbors of a row, the first a multiple of eight elements after the begin of a block, as f32. */
// @ts-ignore: decorator
@inline
export function eight<T>(row: usize, scales: usize, at: u32, to: usize): void {
  const d = f32x4.splat(load1<i16>(scales + (at / BLOCK) * 2));
  let bytes: v128;
  if (isSigned<T>()) bytes = v128.load8x8_s(row + at);
  else {
    const inner = at % BLOCK;
    const pairs = v128.load8x8_u(row + (at / BLOCK) * 16 + (inner % 16));
    const halves = inner < 16 ? v128.and(pairs, i16x8.splat(15)) : i16x8.shr_u(pairs, 4);
    bytes = i16x8.sub(halves, i16x8.splat(8));
  }
  v128.store(to, f32x4.mul(d, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(bytes))));
  v128.store(to, f32x4.mul(d, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(bytes))), 16);
}
