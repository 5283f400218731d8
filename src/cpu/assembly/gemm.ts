import {
  BLOCK_TERMS,
  COLS_PANEL,
  colsFromRows,
  colsFromTerms,
  rowsFromRows,
  rowsFromTerms,
  ROWS_PANEL,
  TILE_COLS,
  TILE_ROWS,
} from "./panels";
import { storedBytes } from "./stored";
import { tile1, tile6 } from "./tile";

/** y = scale · product + bias + residual (+ y); a is F32. Pitches are bytes from row to row. */
@unmanaged
class Gemm {
  rows: u32;
  cols: u32;
  terms: u32;
  /** 0 F32, 1 F16, 2 BF16: of b. */
  dtype: u32;
  /** The rows of a, of b are the terms. */
  aTerms: u32;
  bTerms: u32;
  a: usize;
  aPitch: u32;
  b: usize;
  bPitch: u32;
  y: usize;
  yPitch: u32;
  bias: usize;
  residual: usize;
  residualPitch: u32;
  accumulate: u32;
  scale: f32;
  /** Rows and columns of a piece, and pieces side by side. */
  pieceRows: u32;
  pieceCols: u32;
  pieces: u32;
}

export function gemm(p: Gemm, piece: u32, scratch: usize): void {
  if (p.dtype == 0) product<f32>(p, piece, scratch);
  else if (p.dtype == 1) product<i16>(p, piece, scratch);
  else product<u16>(p, piece, scratch);
}

function product<T>(p: Gemm, piece: u32, scratch: usize): void {
  const firstRow = (piece / p.pieces) * p.pieceRows;
  const lastRow = min(firstRow + p.pieceRows, p.rows);
  const firstCol = (piece % p.pieces) * p.pieceCols;
  const lastCol = min(firstCol + p.pieceCols, p.cols);
  const sums = scratch;
  const rows = scratch + 192;
  const panels = rows + ROWS_PANEL;
  for (let first: u32 = 0; first < p.terms; first += BLOCK_TERMS) {
    const terms = min(BLOCK_TERMS, p.terms - first);
    let panel = panels;
    for (let col = firstCol; col < lastCol; col += TILE_COLS) {
      const count = min(TILE_COLS, lastCol - col);
      if (p.bTerms) colsFromTerms<T>(p.b + first * p.bPitch + storedBytes<T>(col), p.bPitch, count, terms, panel);
      else colsFromRows<T>(p.b + col * p.bPitch + storedBytes<T>(first), p.bPitch, count, terms, panel);
      panel += COLS_PANEL;
    }
    for (let row = firstRow; row < lastRow; row += TILE_ROWS) {
      const count = min(TILE_ROWS, lastRow - row);
      if (p.aTerms) rowsFromTerms(p.a + first * p.aPitch + row * 4, p.aPitch, count, terms, rows);
      else rowsFromRows(p.a + row * p.aPitch + first * 4, p.aPitch, count, terms, rows);
      panel = panels;
      for (let col = firstCol; col < lastCol; col += TILE_COLS) {
        if (count == 1) tile1(rows, panel, terms, sums);
        else tile6(rows, panel, terms, sums);
        finish(p, row, count, col, min(TILE_COLS, lastCol - col), first == 0, sums);
        panel += COLS_PANEL;
      }
    }
  }
}

/** Takes a block's sums over into y, whose padding within whole vectors becomes zero. */
function finish(p: Gemm, row: u32, rows: u32, col: u32, cols: u32, first: bool, sums: usize): void {
  const scale = f32x4.splat(p.scale);
  for (let at: u32 = 0; at < cols; at += 4) {
    for (let i: u32 = 0; i < rows; i++) {
      const place = (col + at) * 4;
      const y = p.y + (row + i) * p.yPitch + place;
      let sum = f32x4.mul(scale, v128.load(sums + i * 32 + at * 4));
      if (!first || p.accumulate) sum = f32x4.add(v128.load(y), sum);
      if (first && p.bias) sum = f32x4.add(sum, v128.load(p.bias + place));
      if (first && p.residual) sum = f32x4.add(sum, v128.load(p.residual + (row + i) * p.residualPitch + place));
      v128.store(y, sum);
    }
  }
}
