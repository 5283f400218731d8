// Sums over bases that are drawn where they are needed, over whole networks (PRANC, Nooralinejad et al., arXiv:2206.08464).
// src/adapters/pranc/stream.ts says which elements those are: the 16 of block b of basis i are the bytes of
// philox4x32_10((b low, b high, i, 1), key), as whole numbers 2b − 255.
import { MOST_TERMS, sumOf } from "./lanes";
import { ThetaDelta, ThetaGradient } from "./parameters";
import { philoxBlocks, units4 } from "./philox";

/** Elements, and vectors of 4, that are drawn together: four blocks. */
const DRAWN: u32 = 64;
const VECTORS: u32 = 16;
const DRAWN_BYTES: usize = 64;
const VALUE_BYTES: usize = 256; // DRAWN * 4

export function thetaDelta(p: ThetaDelta, piece: u32, scratch: usize): void {
  const begin = (<u64>p.beginHigh << 32) | p.beginLow;
  const sums = scratch + DRAWN_BYTES;
  const totals = sums + VALUE_BYTES;
  const last = min((piece + 1) * p.pieceLines, p.lines);
  for (let line = piece * p.pieceLines; line < last; line++) {
    const first = begin + <u64>line * p.lineElements;
    const skipped = <u32>first & 15;
    const to = p.target + line * p.lineBytes;
    for (let at: u32 = 0; at < p.count + skipped; at += DRAWN) {
      sumOverBases(p, (first >> 4) + (at >> 4), scratch, sums, totals);
      const end = min(DRAWN, p.count + skipped - at);
      for (let e = at == 0 ? skipped : 0; e < end; e++) {
        const place = to + (at + e - skipped) * p.elementBytes;
        const value = p.scale * load<f32>(totals + e * 4);
        store<f32>(place, p.accumulate ? load<f32>(place) + value : value);
      }
    }
    if (p.accumulate) continue;
    for (let pad: u32 = 0; pad < p.padElements; pad++) store<f32>(to + (p.count + pad) * p.elementBytes, 0);
    if (line + 1 < p.lines) continue;
    for (let pad: u32 = 1; pad <= p.padLines; pad++) {
      for (let e: u32 = 0; e < p.count; e++) store<f32>(to + pad * p.lineBytes + e * p.elementBytes, 0);
    }
  }
}

/** Σ_i α[i] · θ_i of four blocks. */
function sumOverBases(p: ThetaDelta, block: u64, draws: usize, sums: usize, totals: usize): void {
  memory.fill(totals, 0, VALUE_BYTES);
  for (let first: u32 = 0; first < p.bases; first += MOST_TERMS) {
    memory.fill(sums, 0, VALUE_BYTES);
    for (let i = first; i < min(first + MOST_TERMS, p.bases); i++) {
      philoxBlocks(block, 4, i, 1, p.keyLow, p.keyHigh, draws);
      const alpha = f32x4.splat(load<f32>(p.alpha + i * 4));
      for (let v: usize = 0; v < VECTORS; v++) {
        const sum = v128.load(sums + v * 16);
        v128.store(sums + v * 16, f32x4.add(sum, f32x4.mul(alpha, units4(draws + v * 4))));
      }
    }
    for (let at: usize = 0; at < VALUE_BYTES; at += 16) {
      v128.store(totals + at, f32x4.add(v128.load(totals + at), v128.load(sums + at)));
    }
  }
}

export function thetaGradient(p: ThetaGradient, piece: u32, scratch: usize): void {
  const slice = piece / p.pieces;
  const firstBasis = (piece % p.pieces) * p.pieceBases;
  const bases = min(p.pieceBases, p.bases - firstBasis);
  const lastRow = min((slice + 1) * p.sliceRows, p.rows);
  const begin = (<u64>p.beginHigh << 32) | p.beginLow;
  const values = scratch + DRAWN_BYTES;
  const sums = values + VALUE_BYTES;
  const totals = sums + bases * 16;
  memory.fill(sums, 0, bases * 32);
  let summed: u32 = 0;
  for (let row = slice * p.sliceRows; row < lastRow; row++) {
    const first = begin + <u64>row * p.cols;
    const skipped = <u32>first & 15;
    for (let at: u32 = 0; at < p.cols + skipped; at += DRAWN) {
      someValues(p.g + row * p.gPitch, at, skipped, p.cols, values);
      for (let i: u32 = 0; i < bases; i++) {
        philoxBlocks((first >> 4) + (at >> 4), 4, firstBasis + i, 1, p.keyLow, p.keyHigh, scratch);
        let found = f32x4.splat(0);
        for (let v: usize = 0; v < VECTORS; v++) {
          found = f32x4.add(found, f32x4.mul(v128.load(values + v * 16), units4(scratch + v * 4)));
        }
        v128.store(sums + i * 16, f32x4.add(v128.load(sums + i * 16), found));
      }
      if (++summed == MOST_TERMS) {
        takeOver(sums, totals, bases);
        summed = 0;
      }
    }
  }
  takeOver(sums, totals, bases);
  const to = p.parts + (slice * p.bases + firstBasis) * 4;
  for (let i: u32 = 0; i < bases; i++) store<f32>(to + i * 4, sumOf(v128.load(totals + i * 16)));
}

/** Elements `at` … of a row as they are drawn, the row beginning at element `skipped`; zeros where it has none. */
function someValues(row: usize, at: u32, skipped: u32, cols: u32, to: usize): void {
  const begin = at == 0 ? skipped : 0;
  const end = min(DRAWN, cols + skipped - at);
  memory.fill(to, 0, VALUE_BYTES);
  memory.copy(to + begin * 4, row + (at + begin - skipped) * 4, (end - begin) * 4);
}

/** Adds sums to totals, and begins them anew. */
function takeOver(sums: usize, totals: usize, count: u32): void {
  for (let at: usize = 0; at < count * 16; at += 16) {
    v128.store(totals + at, f32x4.add(v128.load(totals + at), v128.load(sums + at)));
    v128.store(sums + at, f32x4.splat(0));
  }
}
