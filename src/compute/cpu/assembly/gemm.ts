import {
  BLOCK,
  blockPanel,
  BLOCK_ROWS,
  blockSum,
  blockTile,
  eight,
  PANEL_SCALES,
  PANEL_WHOLES,
  roundTerms,
} from "./blocks";
import { FEW_ROWS, fewRows, fewTerms } from "./few-rows";
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
import { rowPanel, rowTile, TILE_W, TILE_X } from "./row";
import { storedBytes } from "./stored";
import { tile } from "./tile";

/** y = scale · product + bias + residual (+ y); a is F32. Pitches are bytes from row to row. */
@unmanaged
export class Gemm {
  rows: u32;
  cols: u32;
  terms: u32;
  /** The rows of a, of b are the terms. */
  aTerms: u32;
  bTerms: u32;
  a: usize;
  aPitch: u32;
  b: usize;
  bPitch: u32;
  /** 0 F32, 1 F16, 2 BF16, 3 Q8_0, 4 Q4_0: of b. */
  dtype: u32;
  /** Of b in blocks. */
  scales: usize;
  scalesPitch: u32;
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
  else if (p.dtype == 2) product<u16>(p, piece, scratch);
  else if (p.dtype == 3) product<i8>(p, piece, scratch);
  else product<u8>(p, piece, scratch);
}

function product<T>(p: Gemm, piece: u32, scratch: usize): void {
  if (p.rows == 0) return;
  const firstRow = (piece / p.pieces) * p.pieceRows;
  const rows = min(p.pieceRows, p.rows - firstRow);
  const firstCol = (piece % p.pieces) * p.pieceCols;
  const cols = min(p.pieceCols, p.cols - firstCol);
  const along = p.aTerms == 0 && p.bTerms == 0;
  const few = along && rows <= FEW_ROWS;
  // Sums of each block that is computed at once, whole tiles of them; then panels.
  const step = few ? fewTerms(rows) : along ? ROW_TERMS : BLOCK_TERMS;
  const pitch = <usize>(p.pieceCols + TILE_COLS) * 4;
  const plane = <usize>(rows + TILE_ROWS) * pitch;
  const panels = scratch + ((min(step, p.terms) + BLOCK_TERMS - 1) / BLOCK_TERMS) * plane;
  for (let first: u32 = 0; first < p.terms; first += step) {
    const terms = min(step, p.terms - first);
    if (!along) tiles<T>(p, firstRow, rows, firstCol, cols, first, terms, scratch, pitch, panels);
    else {
      const a = p.a + firstRow * p.aPitch + first * 4;
      const b = p.b + firstCol * p.bPitch + storedBytes<T>(first);
      if (sizeof<T>() == 1) {
        const scales = p.scales + firstCol * p.scalesPitch + (first / BLOCK) * 2;
        blockTiles<T>(a, p.aPitch, rows, b, p.bPitch, scales, p.scalesPitch, cols, terms, scratch, pitch, plane, panels);
      } else if (few) fewRows<T>(a, p.aPitch, rows, b, p.bPitch, cols, terms, scratch, pitch, plane, panels);
      else rowTiles<T>(a, p.aPitch, rows, b, p.bPitch, cols, terms, scratch, pitch, plane, panels);
    }
    let sums = scratch;
    for (let block: u32 = 0; block < terms; block += BLOCK_TERMS) {
      finish(p, firstRow, rows, firstCol, cols, first + block == 0, sums, pitch);
      sums += plane;
    }
  }
}

/** A block's sums where one operand at least runs across the terms. */
function tiles<T>(
  p: Gemm, firstRow: u32, rows: u32, firstCol: u32, cols: u32, first: u32, terms: u32, sums: usize, pitch: usize, panels: usize,
): void {
  const panelOfRows = panels;
  panels += ROWS_PANEL;
  let panel = panels;
  for (let col: u32 = 0; col < cols; col += TILE_COLS) {
    const count = min(TILE_COLS, cols - col);
    const at = firstCol + col;
    if (sizeof<T>() == 1) colsFromBlocks<T>(p, at, first, terms, panel);
    else if (p.bTerms) colsFromTerms<T>(p.b + first * p.bPitch + storedBytes<T>(at), p.bPitch, count, terms, panel);
    else colsFromRows<T>(p.b + at * p.bPitch + storedBytes<T>(first), p.bPitch, count, terms, panel);
    panel += COLS_PANEL;
  }
  for (let row: u32 = 0; row < rows; row += TILE_ROWS) {
    const count = min(TILE_ROWS, rows - row);
    const at = firstRow + row;
    if (p.aTerms) rowsFromTerms<f32>(p.a + first * p.aPitch + at * 4, p.aPitch, count, terms, panelOfRows);
    else rowsFromRows(p.a + at * p.aPitch + first * 4, p.aPitch, count, terms, panelOfRows);
    panel = panels;
    for (let col: u32 = 0; col < cols; col += TILE_COLS) {
      tile(panelOfRows, panel, terms, sums + row * pitch + col * 4, pitch);
      panel += COLS_PANEL;
    }
  }
}

/** Terms of a panel of rows, whole blocks. */
const ROW_TERMS: u32 = 768;
/** Blocks of a stored matrix whose products are summed together. */
const SUMMED: u32 = BLOCK_TERMS / BLOCK;

/** The sums of some blocks where both operands run along the terms. */
function rowTiles<T>(
  a: usize, aPitch: usize, rows: u32, b: usize, bPitch: usize, cols: u32, terms: u32, sums: usize, pitch: usize, plane: usize,
  panel: usize,
): void {
  for (let col: u32 = 0; col < cols; col += TILE_W) {
    rowPanel<T>(b + col * bPitch, bPitch, min(TILE_W, cols - col), (terms + 3) / 4, panel);
    for (let row: u32 = 0; row < rows; row += TILE_X) {
      const x = a + row * aPitch;
      const other = row + 1 < rows ? aPitch : 0;
      let to = sums + row * pitch + col * 4;
      for (let first: u32 = 0; first < terms; first += BLOCK_TERMS) {
        const vectors = (min(BLOCK_TERMS, terms - first) + 3) / 4;
        rowTile(x + first * 4, x + other + first * 4, panel + first * 24, vectors, to, to + pitch);
        to += plane;
      }
    }
  }
}

/** A panel of eight columns of a matrix in blocks whose rows are the terms; its columns are whole blocks. */
function colsFromBlocks<T>(p: Gemm, col: u32, first: u32, terms: u32, to: usize): void {
  for (let term: u32 = first; term < first + terms; term++) {
    eight<T>(p.b + term * p.bPitch, p.scales + term * p.scalesPitch, col, to);
    to += 32;
  }
}

/** The sums of some blocks of terms where both operands run along the terms and b is in blocks. */
function blockTiles<T>(
  a: usize, aPitch: usize, rows: u32, b: usize, bPitch: usize, scales: usize, scalesPitch: usize, cols: u32, terms: u32,
  sums: usize, pitch: usize, plane: usize, panel: usize,
): void {
  const blocks = terms / BLOCK;
  // Rows that are rounded, 256 terms of all after each other, and what they are to be multiplied by; both behind the panel.
  const xScales = panel + blocks * (PANEL_WHOLES + PANEL_SCALES);
  const x = xScales + rows * ((terms + BLOCK_TERMS - 1) / BLOCK_TERMS) * 4;
  let at = x;
  let scaleAt = xScales;
  for (let first: u32 = 0; first < terms; first += BLOCK_TERMS) {
    for (let row: u32 = 0; row < rows; row++) {
      store<f32>(scaleAt, roundTerms(a + row * aPitch + first * 4, min(BLOCK_TERMS, terms - first), at));
      at += BLOCK_TERMS * 2;
      scaleAt += 4;
    }
  }
  if (rows == 1) {
    // Each row of the matrix is read to its end, as memory likes it.
    for (let col: u32 = 0; col < cols; col++) {
      let to = sums + col * 4;
      at = x;
      scaleAt = xScales;
      for (let block: u32 = 0; block < blocks; block += SUMMED) {
        const w = b + storedBytes<T>(block * BLOCK);
        store<f32>(to, blockSum<T>(at, load<f32>(scaleAt), w, scales + block * 2, min(SUMMED, blocks - block)));
        at += BLOCK_TERMS * 2;
        scaleAt += 4;
        to += plane;
      }
      b += bPitch;
      scales += scalesPitch;
    }
    return;
  }
  const panelScales = panel + blocks * PANEL_WHOLES;
  for (let col: u32 = 0; col < cols; col += BLOCK_ROWS) {
    blockPanel<T>(b + col * bPitch, bPitch, scales + col * scalesPitch, scalesPitch, min(BLOCK_ROWS, cols - col), blocks, panel);
    let to = sums + col * 4;
    at = x;
    scaleAt = xScales;
    for (let block: u32 = 0; block < blocks; block += SUMMED) {
      const wholes = panel + block * PANEL_WHOLES;
      const wholesScales = panelScales + block * PANEL_SCALES;
      for (let row: u32 = 0; row < rows; row++) {
        blockTile(at, load<f32>(scaleAt), wholes, wholesScales, min(SUMMED, blocks - block), to + row * pitch);
        at += BLOCK_TERMS * 2;
        scaleAt += 4;
      }
      to += plane;
    }
  }
}

/** Takes a block's sums over into y, whose padding within whole vectors becomes zero. */
function finish(
  p: Gemm, firstRow: u32, rows: u32, firstCol: u32, cols: u32, first: bool, sums: usize, pitch: usize,
): void {
  const scale = f32x4.splat(p.scale);
  const adds = !first || p.accumulate != 0;
  const last = cols & 3;
  const bias = first ? p.bias : 0;
  const residual = first ? p.residual : 0;
  for (let row: u32 = 0; row < rows; row++) {
    const from = sums + row * pitch;
    if (last) memory.fill(from + cols * 4, 0, 12);
    const y = p.y + (firstRow + row) * p.yPitch + firstCol * 4;
    for (let at: u32 = 0; at < cols; at += 4) {
      let sum = f32x4.mul(scale, v128.load(from + at * 4));
      if (adds) sum = f32x4.add(v128.load(y + at * 4), sum);
      if (bias) sum = f32x4.add(sum, v128.load(bias + (firstCol + at) * 4));
      if (residual) {
        sum = f32x4.add(sum, v128.load(residual + (firstRow + row) * p.residualPitch + (firstCol + at) * 4));
      }
      v128.store(y + at * 4, sum);
    }
  }
}
