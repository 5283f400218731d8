// ΔW = scale · B̂ Ŝ in f32, where B̂ is stored as numbers or drawn as such; ternary.ts has the one without products.
import { Basis, basisRow, DRAWN_BYTES } from "./basis";
import { DeltaTarget, storeTile } from "./delta-target";
import { BLOCK_TERMS, COLS_PANEL, rowsFromRows, ROWS_PANEL, TILE_COLS, TILE_ROWS } from "./panels";
import { ScaledTerms, scaledPanels } from "./scaled-panels";
import { tile } from "./tile";

@unmanaged
class Delta {
  /** B̂: the words of Basis. */
  storage: u32;
  at: usize;
  rowBytes: u32;
  drawn: u32;
  stream: u32;
  keyLow: u32;
  keyHigh: u32;
  threshold: u32;
  dropped: u32;
  /** The words of ScaledTerms. */
  fastCount: u32;
  lambda: usize;
  fast: usize;
  fastPitch: u32;
  slow: usize;
  slowPitch: u32;
  /** The words of DeltaTarget. */
  rows: u32;
  cols: u32;
  target: usize;
  pitch: u32;
  transposed: u32;
  accumulate: u32;
  scale: f32;
  terms: u32;
  /** Of B̂. */
  firstRow: u32;
  /** Rows and columns of a piece, and pieces side by side. */
  pieceRows: u32;
  pieceCols: u32;
  pieces: u32;
}

/** The parts of the kernel's words that others work on. */
// @ts-ignore: decorator
@inline
function basisOf(p: Delta): Basis {
  return changetype<Basis>(changetype<usize>(p) + offsetof<Delta>("storage"));
}

// @ts-ignore: decorator
@inline
function scaledOf(p: Delta): ScaledTerms {
  return changetype<ScaledTerms>(changetype<usize>(p) + offsetof<Delta>("fastCount"));
}

// @ts-ignore: decorator
@inline
function targetOf(p: Delta): DeltaTarget {
  return changetype<DeltaTarget>(changetype<usize>(p) + offsetof<Delta>("rows"));
}

/** Bytes of six rows of a block of terms, and of a tile's sums. */
const SIX_ROWS: usize = 6144; // TILE_ROWS * BLOCK_TERMS * 4
const SUMS: usize = 192; // TILE_ROWS * TILE_COLS * 4

export function delta(p: Delta, piece: u32, scratch: usize): void {
  const firstRow = (piece / p.pieces) * p.pieceRows;
  const lastRow = min(firstRow + p.pieceRows, p.rows);
  const firstCol = (piece % p.pieces) * p.pieceCols;
  const lastCol = min(firstCol + p.pieceCols, p.cols);
  const unpacked = scratch + DRAWN_BYTES;
  const rows = unpacked + SIX_ROWS;
  const sums = rows + ROWS_PANEL;
  const panels = sums + SUMS;
  for (let first: u32 = 0; first < p.terms; first += BLOCK_TERMS) {
    const terms = min(BLOCK_TERMS, p.terms - first);
    scaledPanels(scaledOf(p), first, terms, firstCol, lastCol, TILE_COLS, COLS_PANEL, panels);
    for (let row = firstRow; row < lastRow; row += TILE_ROWS) {
      const count = min(TILE_ROWS, lastRow - row);
      for (let i: u32 = 0; i < count; i++) {
        basisRow(basisOf(p), p.firstRow + row + i, first, terms, unpacked + i * BLOCK_TERMS * 4, scratch);
      }
      rowsFromRows(unpacked, BLOCK_TERMS * 4, count, terms, rows);
      let panel = panels;
      for (let col = firstCol; col < lastCol; col += TILE_COLS) {
        tile(rows, panel, terms, sums, TILE_COLS * 4);
        storeTile(targetOf(p), row, count, col, min(TILE_COLS, lastCol - col), first == 0, sums, TILE_COLS * 4);
        panel += COLS_PANEL;
      }
    }
  }
}
