// Ternary bases as their sums take them: two-bit codes in rows along the terms, whether they are stored, stored the other way round,
// or drawn.
import { BASIS_RUN, CODES, drawRun, SPARSE } from "./basis";
import { Basis, TernaryCodes } from "./parameters";

/** Bytes of a run of codes. */
const RUN: usize = 64; // BASIS_RUN / 4

export function ternaryCodes(p: TernaryCodes, piece: u32, scratch: usize): void {
  const firstRow = piece * p.pieceRows;
  const lastRow = min(firstRow + p.pieceRows, p.rows);
  const runs = scratch;
  const draws = scratch + 16 * RUN;
  for (let row = firstRow; row < lastRow; row += 16) {
    const count = min(16, lastRow - row);
    for (let col: u32 = 0; col < p.cols; col += BASIS_RUN) {
      const cols = min(BASIS_RUN, p.cols - col);
      const words = (cols + 15) / 16;
      for (let i: u32 = 0; i < 16; i++) {
        const to = runs + i * RUN;
        if (i < count) codesRun(p, p.firstRow + row + i, col, words, to, draws);
        else memory.fill(to, 0, words * 4);
      }
      for (let word: u32 = 0; word < words; word++) {
        const from = runs + word * 4;
        if (p.transposed) transpose16(from, RUN);
        const there = p.transposed ? min(16, cols - word * 16) : count;
        let to = p.transposed
          ? p.target + (col + word * 16) * p.targetPitch + row / 4
          : p.target + row * p.targetPitch + col / 4 + word * 4;
        for (let i: u32 = 0; i < there; i++) {
          store<u32>(to, load<u32>(from + i * RUN));
          to += p.targetPitch;
        }
      }
    }
  }
}

/** Words of codes of a row from `col` (a multiple of 16) on. */
function codesRun(p: Basis, row: u32, col: u32, words: u32, to: usize, draws: usize): void {
  if (p.storage == CODES) {
    memory.copy(to, p.at + row * p.rowBytes + col / 4, words * 4);
    return;
  }
  const drawn = drawRun(p, row, col, words * 16, draws);
  for (let word: u32 = 0; word < words; word++) {
    store<u32>(to + word * 4, p.storage == SPARSE ? sparseCodes(drawn + word * 16) : verySparseCodes(p, drawn + word * 32));
  }
}

/** The codes of 16 drawn bytes. */
// @ts-ignore: decorator
@inline
function sparseCodes(at: usize): u32 {
  const bytes = v128.load(at);
  return word(i8x16.gt_u(bytes, i8x16.splat(<i8>212)), i8x16.lt_u(bytes, i8x16.splat(43)));
}

/** The codes of 16 drawn numbers of 16 bits. */
// @ts-ignore: decorator
@inline
function verySparseCodes(p: Basis, at: usize): u32 {
  const low = v128.load(at);
  const high = v128.load(at, 16);
  const above = i16x8.splat(<i16>(65535 - p.threshold));
  const below = i16x8.splat(<i16>p.threshold);
  const plus = i8x16.narrow_i16x8_s(i16x8.gt_u(low, above), i16x8.gt_u(high, above));
  return word(plus, i8x16.narrow_i16x8_s(i16x8.lt_u(low, below), i16x8.lt_u(high, below)));
}

/** The codes of 16 elements, by masks of which are 1 and which are −1. */
// @ts-ignore: decorator
@inline
function word(plus: v128, minus: v128): u32 {
  const codes = v128.or(v128.and(plus, i8x16.splat(1)), v128.and(minus, i8x16.splat(2)));
  const pairs = v128.or(v128.and(codes, i16x8.splat(255)), i16x8.shr_u(codes, 6));
  const fours = i32x4.dot_i16x8_s(v128.and(pairs, i16x8.splat(15)), i16x8(1, 16, 1, 16, 1, 16, 1, 16));
  return i32x4.extract_lane(v128.swizzle(fours, i8x16(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), 0);
}

/** 16 words of 16 codes, `pitch` bytes apart, turned around. */
function transpose16(at: usize, pitch: usize): void {
  let mask: u32 = 0x0000ffff;
  for (let span: u32 = 8; span > 0; span >>= 1) {
    const shift = span * 2;
    for (let i: u32 = 0; i < 16; i = (i + span + 1) & ~span) {
      const one = at + i * pitch;
      const other = one + span * pitch;
      const a = load<u32>(one);
      const b = load<u32>(other);
      const change = ((a >> shift) ^ b) & mask;
      store<u32>(one, a ^ (change << shift));
      store<u32>(other, b ^ change);
    }
    mask ^= mask << span;
  }
}
