import { loadRow } from "./runs";

/** y = x in f32, rows of whole vectors of 4; pitches in bytes. */
@unmanaged
class Widen {
  rows: u32;
  vectors: u32;
  x: usize;
  xPitch: u32;
  /** A format, of x. */
  dtype: u32;
  /** Of x in blocks. */
  scales: usize;
  scalesPitch: u32;
  y: usize;
  yPitch: u32;
  pieceRows: u32;
}

export function widen(p: Widen, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  for (let row = piece * p.pieceRows; row < last; row++) {
    loadRow(p.dtype, p.x + row * p.xPitch, p.scales + row * p.scalesPitch, 0, p.vectors * 4, p.y + row * p.yPitch);
  }
}
