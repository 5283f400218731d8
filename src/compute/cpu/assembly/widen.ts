import { eight } from "./blocks";
import { load4, storedBytes } from "./stored";

/** y = x in f32, rows of whole vectors of 4; pitches in bytes. */
@unmanaged
class Widen {
  rows: u32;
  vectors: u32;
  x: usize;
  xPitch: u32;
  dtype: u32;
  /** Of x in blocks. */
  scales: usize;
  scalesPitch: u32;
  y: usize;
  yPitch: u32;
  pieceRows: u32;
}

export function widen(p: Widen, piece: u32, scratch: usize): void {
  if (p.dtype == 0) rowsOf<f32>(p, piece);
  else if (p.dtype == 1) rowsOf<i16>(p, piece);
  else if (p.dtype == 2) rowsOf<u16>(p, piece);
  else if (p.dtype == 3) rowsOfBlocks<i8>(p, piece);
  else rowsOfBlocks<u8>(p, piece);
}

function rowsOfBlocks<T>(p: Widen, piece: u32): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  for (let row = piece * p.pieceRows; row < last; row++) {
    for (let at: u32 = 0; at < p.vectors * 4; at += 8) {
      eight<T>(p.x + row * p.xPitch, p.scales + row * p.scalesPitch, at, p.y + row * p.yPitch + at * 4);
    }
  }
}

function rowsOf<T>(p: Widen, piece: u32): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  for (let row = piece * p.pieceRows; row < last; row++) {
    let x = p.x + row * p.xPitch;
    let y = p.y + row * p.yPitch;
    const end = y + p.vectors * 16;
    while (y < end) {
      v128.store(y, load4<T>(x));
      x += storedBytes<T>(4);
      y += 16;
    }
  }
}
