// Sums without products: which terms a row or a column of a ternary basis adds, and which it subtracts, as two lists for a block
// of terms, and sums that walk down them. Zeros cost nothing.
import { Basis, CODES, drawRun, SPARSE } from "./basis";

/** Columns of a panel: four vectors, whose sums stay in registers. */
export const PANEL_COLS: u32 = 16;
/** Bytes of a term of a panel, and of a panel. */
export const TERM: u32 = 64;
export const PANEL: usize = 16384; // BLOCK_TERMS * TERM
/** Rows or columns whose lists are held at once, and bytes of a pair of lists. */
export const LISTED: u32 = 64;
export const LISTS: usize = 1056;

/** Where a pair has its lengths in bytes, and its lists: distances into a panel, at most BLOCK_TERMS of 16 bits each. */
const LENGTH: usize = 528;
const FIRST: usize = 16;

/** The sums of one pair of lists over one panel. */
export function sumLists(lists: usize, panel: usize, to: usize): void {
  let s0 = f32x4.splat(0),
    s1 = f32x4.splat(0),
    s2 = f32x4.splat(0),
    s3 = f32x4.splat(0);
  let at = lists + FIRST;
  let end = at + load<u32>(lists);
  for (; at < end; at += 2) {
    const term = panel + load<u16>(at);
    s0 = f32x4.add(s0, v128.load(term));
    s1 = f32x4.add(s1, v128.load(term, 16));
    s2 = f32x4.add(s2, v128.load(term, 32));
    s3 = f32x4.add(s3, v128.load(term, 48));
  }
  at = lists + LENGTH + FIRST;
  end = at + load<u32>(lists, LENGTH);
  for (; at < end; at += 2) {
    const term = panel + load<u16>(at);
    s0 = f32x4.sub(s0, v128.load(term));
    s1 = f32x4.sub(s1, v128.load(term, 16));
    s2 = f32x4.sub(s2, v128.load(term, 32));
    s3 = f32x4.sub(s3, v128.load(term, 48));
  }
  v128.store(to, s0);
  v128.store(to, s1, 16);
  v128.store(to, s2, 32);
  v128.store(to, s3, 48);
}

/** Lists terms `first` … (a multiple of 16) of one row. */
export function listRow(p: Basis, row: u32, first: u32, terms: u32, lists: usize, draws: usize): void {
  const drawn = p.storage == CODES ? 0 : drawRun(p, row, first, terms, draws);
  const codes = p.at + row * p.rowBytes + first / 4;
  for (let side: usize = 0; side < 2; side++) {
    const list = lists + side * LENGTH;
    const begin = list + FIRST;
    let to = begin;
    if (p.storage == CODES) {
      for (let term: u32 = 0; term < terms; term += 16) {
        let mask = codesOf(codes + term / 4, side);
        if (terms - term < 16) mask &= (1 << (2 * (terms - term))) - 1;
        to = append(mask, term * TERM, TERM / 2, to);
      }
    } else {
      const step: u32 = p.storage == SPARSE ? 16 : 8;
      for (let term: u32 = 0; term < terms; term += step) {
        let mask = drawnOf(p, drawn, term, side);
        if (terms - term < 16) mask &= (1 << (terms - term)) - 1;
        to = append(mask, term * TERM, TERM, to);
      }
    }
    store<u32>(list, <u32>(to - begin));
  }
}

/** A distance for each bit. */
// @ts-ignore: decorator
@inline
function append(mask: u32, distance: u32, step: u32, to: usize): usize {
  for (; mask != 0; mask &= mask - 1) {
    store<u16>(to, <u16>(distance + ctz(mask) * step));
    to += 2;
  }
  return to;
}

/**
 * Lists of up to LISTED columns from `col` (a multiple of 16) on, over the terms of a block: rows `first` … of the basis.
 */
export function listColumns(
  p: Basis,
  first: u32,
  terms: u32,
  col: u32,
  cols: u32,
  lists: usize,
  draws: usize,
): void {
  for (let i: u32 = 0; i < LISTED; i++) {
    store<u32>(lists + i * LISTS, 0);
    store<u32>(lists + i * LISTS, 0, LENGTH);
  }
  for (let term: u32 = 0; term < terms; term++) {
    const distance = term * TERM;
    if (p.storage == CODES) {
      const codes = p.at + (first + term) * p.rowBytes + col / 4;
      for (let at: u32 = 0; at < cols; at += 16) {
        const pair = lists + at * LISTS;
        scatter(codesOf(codes + at / 4, 0), 1, distance, pair);
        scatter(codesOf(codes + at / 4, 1), 1, distance, pair + LENGTH);
      }
    } else {
      const drawn = drawRun(p, first + term, col, cols, draws);
      const step: u32 = p.storage == SPARSE ? 16 : 8;
      for (let at: u32 = 0; at < cols; at += step) {
        const pair = lists + at * LISTS;
        scatter(drawnOf(p, drawn, at, 0), 0, distance, pair);
        scatter(drawnOf(p, drawn, at, 1), 0, distance, pair + LENGTH);
      }
    }
  }
}

/** Appends a distance to the list of each bit; `shift`: bits of a mask are 2^shift apart. */
// @ts-ignore: decorator
@inline
function scatter(mask: u32, shift: u32, distance: u32, lists: usize): void {
  for (; mask != 0; mask &= mask - 1) {
    const list = lists + (ctz(mask) >> shift) * LISTS;
    const length = load<u32>(list);
    store<u16>(list + FIRST + length, <u16>distance);
    store<u32>(list, length + 2);
  }
}

/** Which of 16 codes say +1, or else −1: every second bit. */
// @ts-ignore: decorator
@inline
function codesOf(at: usize, side: usize): u32 {
  return (load<u32>(at) >> <u32>side) & 0x55555555;
}

/** Which of 16 drawn bytes, or of 8 drawn numbers of 16 bits, are +1, or else −1. */
// @ts-ignore: decorator
@inline
function drawnOf(p: Basis, drawn: usize, at: u32, side: usize): u32 {
  if (p.storage == SPARSE) {
    const bytes = v128.load(drawn + at);
    return i8x16.bitmask(side == 0 ? i8x16.gt_u(bytes, i8x16.splat(<i8>212)) : i8x16.lt_u(bytes, i8x16.splat(43)));
  }
  const words = v128.load(drawn + at * 2);
  return i16x8.bitmask(
    side == 0
      ? i16x8.gt_u(words, i16x8.splat(<i16>(65535 - p.threshold)))
      : i16x8.lt_u(words, i16x8.splat(<i16>p.threshold)),
  );
}
