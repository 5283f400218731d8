// Elements of the frozen bases, as f32, whatever they are stored as: numbers, two-bit codes, or nothing at all.
import { Basis } from "./parameters";
import { dense4, philoxBlocks, signs, sparse4, units4, verySparse4 } from "./philox";
import { loadRow } from "./runs";

export const CODES: u32 = 3;
const DENSE: u32 = 4;
const UNITS: u32 = 5;
export const SPARSE: u32 = 6;

/** Elements that `basisRow` gives at once at most, and bytes that it needs for their draws. */
export const BASIS_RUN: u32 = 256;
export const DRAWN_BYTES: usize = 640;

/**
 * Elements col … col + count − 1 of a row in true values (codes and drawn ternary ones as −1, 0, 1), up to whole vectors.
 * Where they are stored, col is a multiple of 4. `draws`: DRAWN_BYTES of scratch.
 */
export function basisRow(p: Basis, row: u32, col: u32, count: u32, to: usize, draws: usize): void {
  const storage = p.storage;
  const from = p.at + row * p.rowBytes;
  if (storage < CODES) loadRow(storage, from, 0, col, count, to);
  else if (storage == CODES) decodeRun(from + col / 4, count, to);
  else drawnRun(p, drawRun(p, row, col, count, draws), count, to);
}

/** Runs of at most 256 elements of several rows, `pitch` bytes apart: what kernels of machine code have drawn. */
export function basisRows(p: Basis, row: u32, rows: u32, col: u32, count: u32, to: usize, pitch: u32): void {
  // The draws of a row lie where the next one comes; behind the last one is room.
  for (let i: u32 = 0; i < rows; i++) {
    basisRow(p, row + i, col, count, to, to + pitch);
    to += pitch;
  }
}

/** Four codes a byte: 1 is +1, 2 is −1. */
function decodeRun(from: usize, count: u32, to: usize): void {
  for (let at: u32 = 0; at < count; at += 4) {
    const codes = i32x4.splat(load<u8>(from + at / 4));
    const plus = v128.and(codes, i32x4(0x01, 0x04, 0x10, 0x40));
    const minus = v128.and(codes, i32x4(0x02, 0x08, 0x20, 0x80));
    v128.store(to, signs(i32x4.gt_s(plus, i32x4.splat(0)), i32x4.gt_s(minus, i32x4.splat(0))));
    to += 16;
  }
}

/** Draws what elements of a row are made of. @returns where the first one's bytes are */
export function drawRun(p: Basis, row: u32, col: u32, count: u32, to: usize): usize {
  const position = <u64>row * p.drawn + col;
  const bytes: u64 = p.storage > SPARSE ? 2 : 1;
  const skipped = <u32>(position * bytes) & 15;
  const blocks = (skipped + count * <u32>bytes + 15) / 16;
  philoxBlocks((position * bytes) >> 4, blocks, p.stream, 0, p.keyLow, p.keyHigh, to);
  return to + skipped;
}

function drawnRun(p: Basis, from: usize, count: u32, to: usize): void {
  if (p.storage == DENSE) {
    for (let at: u32 = 0; at < count; at += 4) v128.store(to + at * 4, dense4(from + at, p.dropped));
  } else if (p.storage == UNITS) {
    for (let at: u32 = 0; at < count; at += 4) v128.store(to + at * 4, units4(from + at));
  } else if (p.storage == SPARSE) {
    for (let at: u32 = 0; at < count; at += 4) v128.store(to + at * 4, sparse4(from + at));
  } else {
    for (let at: u32 = 0; at < count; at += 4) v128.store(to + at * 4, verySparse4(from + at * 2, p.threshold));
  }
}
