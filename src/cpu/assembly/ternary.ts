// ΔW = scale · B̂ Ŝ where B̂ is ternary, without a product: what a row of B̂ adds and what it subtracts becomes a list for
// each block of terms, and the sums walk down the lists. Zeros cost nothing (section 6.6 of the paper asks for such a kernel).
import { CODES, drawRun, DRAWN_BYTES, SPARSE } from "./basis";
import { basisOf, Delta, scaledOf, targetOf } from "./delta";
import { storeTile } from "./delta-target";
import { BLOCK_TERMS } from "./panels";
import { scaledPanels } from "./scaled-panels";

/** Columns of a panel: four vectors, whose sums stay in registers. */
const PANEL_COLS: u32 = 16;
/** Bytes of a term of a panel, and of a panel. */
const TERM: u32 = 64;
const PANEL: usize = 16384; // BLOCK_TERMS * TERM
/** Rows whose lists are held at once; bytes of the lists of a row: two lengths, and terms at most twice (a code of both bits). */
const LISTED_ROWS: u32 = 64;
const LISTS: usize = 1040;
/** Lists begin behind their lengths. */
const LENGTHS: usize = 16;

export function ternary(p: Delta, piece: u32, scratch: usize): void {
  const firstRow = (piece / p.pieces) * p.pieceRows;
  const lastRow = min(firstRow + p.pieceRows, p.rows);
  const firstCol = (piece % p.pieces) * p.pieceCols;
  const lastCol = min(firstCol + p.pieceCols, p.cols);
  const lists = scratch + DRAWN_BYTES;
  const sums = lists + LISTED_ROWS * LISTS;
  const panels = sums + LISTED_ROWS * TERM;
  for (let first: u32 = 0; first < p.terms; first += BLOCK_TERMS) {
    const terms = min(BLOCK_TERMS, p.terms - first);
    scaledPanels(scaledOf(p), first, terms, firstCol, lastCol, PANEL_COLS, PANEL, panels);
    for (let row = firstRow; row < lastRow; row += LISTED_ROWS) {
      const count = min(LISTED_ROWS, lastRow - row);
      for (let i: u32 = 0; i < count; i++) listRow(p, row + i, first, terms, lists + i * LISTS, scratch);
      let panel = panels;
      for (let col = firstCol; col < lastCol; col += PANEL_COLS) {
        for (let i: u32 = 0; i < count; i++) sumRow(lists + i * LISTS, panel, sums + i * TERM);
        storeTile(targetOf(p), row, count, col, min(PANEL_COLS, lastCol - col), first == 0, sums, TERM);
        panel += PANEL;
      }
    }
  }
}

/** The sums of a row over a block of terms of one panel. */
function sumRow(lists: usize, panel: usize, to: usize): void {
  let s0 = f32x4.splat(0),
    s1 = f32x4.splat(0),
    s2 = f32x4.splat(0),
    s3 = f32x4.splat(0);
  let at = lists + LENGTHS;
  const plus = at + load<u32>(lists);
  const minus = plus + load<u32>(lists, 4);
  for (; at < plus; at += 2) {
    const term = panel + load<u16>(at);
    s0 = f32x4.add(s0, v128.load(term));
    s1 = f32x4.add(s1, v128.load(term, 16));
    s2 = f32x4.add(s2, v128.load(term, 32));
    s3 = f32x4.add(s3, v128.load(term, 48));
  }
  for (; at < minus; at += 2) {
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

/** Lists which terms of a row are +1, then which are −1: distances into a panel, in bytes. */
function listRow(p: Delta, row: u32, first: u32, terms: u32, lists: usize, draws: usize): void {
  const from = lists + LENGTHS;
  row += p.firstRow;
  let plus: usize;
  let minus: usize;
  if (p.storage == CODES) {
    const codes = p.at + row * p.rowBytes + first / 4;
    plus = listCodes(codes, 0, terms, from);
    minus = listCodes(codes, 1, terms, plus);
  } else {
    const drawn = drawRun(basisOf(p), row, first, terms, draws);
    if (p.storage == SPARSE) {
      plus = listBytes(drawn, true, terms, from);
      minus = listBytes(drawn, false, terms, plus);
    } else {
      plus = listWords(drawn, true, p.threshold, terms, from);
      minus = listWords(drawn, false, p.threshold, terms, plus);
    }
  }
  store<u32>(lists, <u32>(plus - from));
  store<u32>(lists, <u32>(minus - plus), 4);
}

/** The terms whose code has this bit: 16 codes a word, rows begin at whole words. */
function listCodes(from: usize, bit: u32, terms: u32, to: usize): usize {
  for (let term: u32 = 0; term < terms; term += 16) {
    let word = (load<u32>(from + term / 4) >> bit) & 0x55555555;
    if (terms - term < 16) word &= (1 << (2 * (terms - term))) - 1;
    for (; word != 0; word &= word - 1) {
      store<u16>(to, <u16>(term * TERM + ctz(word) * (TERM / 2)));
      to += 2;
    }
  }
  return to;
}

/** The terms whose drawn byte is above 212, or else below 43. */
function listBytes(from: usize, plus: bool, terms: u32, to: usize): usize {
  for (let term: u32 = 0; term < terms; term += 16) {
    const bytes = v128.load(from + term);
    const found = plus ? i8x16.gt_u(bytes, i8x16.splat(<i8>212)) : i8x16.lt_u(bytes, i8x16.splat(43));
    to = listMask(i8x16.bitmask(found), term, terms, to);
  }
  return to;
}

/** The terms whose drawn 16 bits are 65536 − threshold at least, or else below the threshold. */
function listWords(from: usize, plus: bool, threshold: u32, terms: u32, to: usize): usize {
  const limit = i16x8.splat(<i16>(plus ? 65535 - threshold : threshold));
  for (let term: u32 = 0; term < terms; term += 8) {
    const words = v128.load(from + term * 2);
    const found = plus ? i16x8.gt_u(words, limit) : i16x8.lt_u(words, limit);
    to = listMask(i16x8.bitmask(found), term, terms, to);
  }
  return to;
}

/** The terms from `term` on whose bit is set, before the last one. */
// @ts-ignore: decorator
@inline
function listMask(mask: u32, term: u32, terms: u32, to: usize): usize {
  if (terms - term < 16) mask &= (1 << (terms - term)) - 1;
  for (; mask != 0; mask &= mask - 1) {
    store<u16>(to, <u16>((term + ctz(mask)) * TERM));
    to += 2;
  }
  return to;
}
