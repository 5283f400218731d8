// Products of a few rows with the rows of a stored matrix. Those are read one after the other, as they lie: that is what memory is
// fast at, and each number is widened once for all of the few. Sums are those of row.ts, to the last bit.
import { BLOCK_TERMS } from "./panels";
import { lanes, rowSums } from "./row";
import { first4, last4, load4, storedBytes } from "./stored";

/** So many rows at most: of more, panels of the matrix are made. */
export const FEW_ROWS: u32 = 16;
/** Rows whose sums stand in registers together. */
const TOGETHER: u32 = 8;
/**
 * Bytes of the panels (rows that are computed twice come on top), and blocks of sums, at most: they stay in the second-level cache,
 * and within the quarter of the scratch that `normed-gemm.ts` leaves.
 */
const PANEL_BYTES: u32 = 98304;
const MOST_BLOCKS: u32 = 16;

/** Terms that `fewRows` takes at once: whole blocks, at least six. */
export function fewTerms(rows: u32): u32 {
  return min(MOST_BLOCKS, PANEL_BYTES / (rows * BLOCK_TERMS * 4)) * BLOCK_TERMS;
}

/**
 * The products of `rows` rows of f32 with `count` rows as they are stored: the sums of a block of terms to rows `toPitch` bytes
 * apart, those of the next block `plane` bytes behind. `panels` is room for the rows, and one more.
 */
export function fewRows<T>(
  x: usize, xPitch: usize, rows: u32, w: usize, pitch: usize, count: u32, terms: u32, to: usize, toPitch: usize, plane: usize,
  panels: usize,
): void {
  if (rows == 1) {
    for (let row: u32 = 0; row < count; row += 4) {
      let sums = to + row * 4;
      for (let first: u32 = 0; first < terms; first += BLOCK_TERMS) {
        const vectors = (min(BLOCK_TERMS, terms - first) + 3) / 4;
        rowSums<T>(x + first * 4, w + storedBytes<T>(first), pitch, min(4, count - row), vectors, sums);
        sums += plane;
      }
      w += 4 * pitch;
    }
    return;
  }
  const groups = (rows + TOGETHER - 1) / TOGETHER;
  // The last group computes some rows of the one before it again, where they are no multiple.
  const size = (rows + groups - 1) / groups;
  const all = (terms + 3) / 4;
  for (let group: u32 = 0; group < groups; group++) {
    const row = min(group * size, rows - size);
    fewPanel(x + row * xPitch, xPitch, size, all, panels + <usize>(group * size * all) * 16);
  }
  for (let row: u32 = 0; row < count; row++) {
    let sums = to + row * 4;
    for (let first: u32 = 0; first < terms; first += BLOCK_TERMS) {
      const vectors = (min(BLOCK_TERMS, terms - first) + 3) / 4;
      for (let group: u32 = 0; group < groups; group++) {
        const panel = panels + <usize>size * (group * all * 16 + first * 4);
        const target = sums + min(group * size, rows - size) * toPitch;
        oneRow<T>(size, panel, w + storedBytes<T>(first), vectors, target, toPitch);
      }
      sums += plane;
    }
    w += pitch;
  }
}

/** A panel of a few rows of f32: four terms of each, side by side. */
function fewPanel(from: usize, pitch: usize, rows: u32, vectors: u32, to: usize): void {
  const step = <usize>rows * 16;
  for (let row: u32 = 0; row < rows; row++) {
    let x = from + row * pitch;
    let target = to + row * 16;
    for (const end = x + <usize>vectors * 16; x < end; x += 16) {
      v128.store(target, v128.load(x));
      target += step;
    }
  }
}

/** The products of a panel of two to eight rows with one row as it is stored. */
function oneRow<T>(rows: u32, panel: usize, w: usize, vectors: u32, to: usize, pitch: usize): void {
  if (rows == 2) sumsOf<T>(2, panel, w, vectors, to, pitch);
  else if (rows == 3) sumsOf<T>(3, panel, w, vectors, to, pitch);
  else if (rows == 4) sumsOf<T>(4, panel, w, vectors, to, pitch);
  else if (rows == 5) sumsOf<T>(5, panel, w, vectors, to, pitch);
  else if (rows == 6) sumsOf<T>(6, panel, w, vectors, to, pitch);
  else if (rows == 7) sumsOf<T>(7, panel, w, vectors, to, pitch);
  else sumsOf<T>(8, panel, w, vectors, to, pitch);
}

/**
 * The number of rows is a constant, so what concerns others is not there. The turn of eight sums stands three times: no function
 * of AssemblyScript gives back more than one.
 */
// @ts-ignore: decorator
@inline
function sumsOf<T>(rows: u32, x: usize, w: usize, vectors: u32, to: usize, pitch: usize): void {
  let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0);
  let s4 = f32x4.splat(0), s5 = f32x4.splat(0), s6 = f32x4.splat(0), s7 = f32x4.splat(0);
  const end = w + storedBytes<T>((vectors & ~1) * 4);
  while (w < end) {
    const v = v128.load(w);
    let half = first4<T>(v);
    s0 = f32x4.add(s0, f32x4.mul(v128.load(x), half));
    s1 = f32x4.add(s1, f32x4.mul(v128.load(x, 16), half));
    if (rows > 2) s2 = f32x4.add(s2, f32x4.mul(v128.load(x, 32), half));
    if (rows > 3) s3 = f32x4.add(s3, f32x4.mul(v128.load(x, 48), half));
    if (rows > 4) s4 = f32x4.add(s4, f32x4.mul(v128.load(x, 64), half));
    if (rows > 5) s5 = f32x4.add(s5, f32x4.mul(v128.load(x, 80), half));
    if (rows > 6) s6 = f32x4.add(s6, f32x4.mul(v128.load(x, 96), half));
    if (rows > 7) s7 = f32x4.add(s7, f32x4.mul(v128.load(x, 112), half));
    x += rows * 16;
    half = last4<T>(v, w);
    s0 = f32x4.add(s0, f32x4.mul(v128.load(x), half));
    s1 = f32x4.add(s1, f32x4.mul(v128.load(x, 16), half));
    if (rows > 2) s2 = f32x4.add(s2, f32x4.mul(v128.load(x, 32), half));
    if (rows > 3) s3 = f32x4.add(s3, f32x4.mul(v128.load(x, 48), half));
    if (rows > 4) s4 = f32x4.add(s4, f32x4.mul(v128.load(x, 64), half));
    if (rows > 5) s5 = f32x4.add(s5, f32x4.mul(v128.load(x, 80), half));
    if (rows > 6) s6 = f32x4.add(s6, f32x4.mul(v128.load(x, 96), half));
    if (rows > 7) s7 = f32x4.add(s7, f32x4.mul(v128.load(x, 112), half));
    x += rows * 16;
    w += storedBytes<T>(8);
  }
  if (vectors & 1) {
    const half = load4<T>(w);
    s0 = f32x4.add(s0, f32x4.mul(v128.load(x), half));
    s1 = f32x4.add(s1, f32x4.mul(v128.load(x, 16), half));
    if (rows > 2) s2 = f32x4.add(s2, f32x4.mul(v128.load(x, 32), half));
    if (rows > 3) s3 = f32x4.add(s3, f32x4.mul(v128.load(x, 48), half));
    if (rows > 4) s4 = f32x4.add(s4, f32x4.mul(v128.load(x, 64), half));
    if (rows > 5) s5 = f32x4.add(s5, f32x4.mul(v128.load(x, 80), half));
    if (rows > 6) s6 = f32x4.add(s6, f32x4.mul(v128.load(x, 96), half));
    if (rows > 7) s7 = f32x4.add(s7, f32x4.mul(v128.load(x, 112), half));
  }
  store<f32>(to, lanes(s0));
  store<f32>(to + pitch, lanes(s1));
  if (rows > 2) store<f32>(to + 2 * pitch, lanes(s2));
  if (rows > 3) store<f32>(to + 3 * pitch, lanes(s3));
  if (rows > 4) store<f32>(to + 4 * pitch, lanes(s4));
  if (rows > 5) store<f32>(to + 5 * pitch, lanes(s5));
  if (rows > 6) store<f32>(to + 6 * pitch, lanes(s6));
  if (rows > 7) store<f32>(to + 7 * pitch, lanes(s7));
}
