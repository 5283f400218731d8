// Products with ternary bases, without multiplying: section 6.6 of the paper asks for such a kernel.
import { Basis, DRAWN_BYTES } from "./basis";
import { basisOf, Delta, scaledOf, targetOf } from "./delta";
import { DeltaTarget, storeTile } from "./delta-target";
import { BLOCK_TERMS, transpose4 } from "./panels";
import { scaledPanels } from "./scaled-panels";
import { LISTED, listColumns, listRow, LISTS, PANEL, PANEL_COLS, sumLists, TERM } from "./ternary-lists";

/** ΔW = scale · B̂ Ŝ in f32. */
export function ternaryDelta(p: Delta, piece: u32, scratch: usize): void {
  const firstRow = (piece / p.pieces) * p.pieceRows;
  const lastRow = min(firstRow + p.pieceRows, p.rows);
  const firstCol = (piece % p.pieces) * p.pieceCols;
  const lastCol = min(firstCol + p.pieceCols, p.cols);
  const lists = scratch + DRAWN_BYTES;
  const panels = lists + LISTED * (LISTS + TERM);
  for (let first: u32 = 0; first < p.terms; first += BLOCK_TERMS) {
    const terms = min(BLOCK_TERMS, p.terms - first);
    scaledPanels(scaledOf(p), first, terms, firstCol, lastCol, PANEL_COLS, PANEL, panels);
    for (let row = firstRow; row < lastRow; row += LISTED) {
      const count = min(LISTED, lastRow - row);
      for (let i: u32 = 0; i < count; i++) {
        listRow(basisOf(p), p.firstRow + row + i, first, terms, lists + i * LISTS, scratch);
      }
      sumPanels(targetOf(p), row, count, firstCol, lastCol, first == 0, lists, panels);
    }
  }
}

/** The sums of up to LISTED pairs of lists over all panels, to the target. */
function sumPanels(
  target: DeltaTarget,
  row: u32,
  count: u32,
  firstCol: u32,
  lastCol: u32,
  isFirst: bool,
  lists: usize,
  panels: usize,
): void {
  const sums = lists + LISTED * LISTS;
  for (let col = firstCol; col < lastCol; col += PANEL_COLS) {
    for (let i: u32 = 0; i < count; i++) sumLists(lists + i * LISTS, panels, sums + i * TERM);
    storeTile(target, row, count, col, min(PANEL_COLS, lastCol - col), isFirst, sums, TERM);
    panels += PANEL;
  }
}

/** y (+)= scale · a·T, or scale · a·Tᵀ, for a basis T, a and y in f32: transposed, so that sums run over rows of a side by side. */
@unmanaged
class TernaryProduct {
  /** T: the words of Basis. */
  storage: u32;
  at: usize;
  rowBytes: u32;
  drawn: u32;
  stream: u32;
  keyLow: u32;
  keyHigh: u32;
  threshold: u32;
  dropped: u32;
  /** y: the words of DeltaTarget. Its rows are rows or columns of T, its columns rows of a. */
  rows: u32;
  cols: u32;
  target: usize;
  pitch: u32;
  transposed: u32;
  accumulate: u32;
  scale: f32;
  a: usize;
  aPitch: u32;
  terms: u32;
  /** Sums run over T's rows: its columns are listed. */
  overRows: u32;
  /** Of T. */
  firstRow: u32;
  pieceRows: u32;
  pieceCols: u32;
  pieces: u32;
}

export function ternaryProduct(p: TernaryProduct, piece: u32, scratch: usize): void {
  const basis = changetype<Basis>(changetype<usize>(p) + offsetof<TernaryProduct>("storage"));
  const target = changetype<DeltaTarget>(changetype<usize>(p) + offsetof<TernaryProduct>("rows"));
  const firstRow = (piece / p.pieces) * p.pieceRows;
  const lastRow = min(firstRow + p.pieceRows, p.rows);
  const firstCol = (piece % p.pieces) * p.pieceCols;
  const lastCol = min(firstCol + p.pieceCols, p.cols);
  const lists = scratch + DRAWN_BYTES;
  const panels = lists + LISTED * (LISTS + TERM);
  for (let first: u32 = 0; first < p.terms; first += BLOCK_TERMS) {
    const terms = min(BLOCK_TERMS, p.terms - first);
    let panel = panels;
    for (let col = firstCol; col < lastCol; col += PANEL_COLS) {
      panelOfRows(p.a + col * p.aPitch + first * 4, p.aPitch, min(PANEL_COLS, lastCol - col), terms, panel);
      panel += PANEL;
    }
    for (let row = firstRow; row < lastRow; row += LISTED) {
      const count = min(LISTED, lastRow - row);
      if (p.overRows) {
        listColumns(basis, p.firstRow + first, terms, row, count, lists, scratch);
      } else {
        for (let i: u32 = 0; i < count; i++) {
          listRow(basis, p.firstRow + row + i, first, terms, lists + i * LISTS, scratch);
        }
      }
      sumPanels(target, row, count, firstCol, lastCol, first == 0, lists, panels);
    }
  }
}

/** A panel of up to sixteen rows that run along the terms. In the place of missing rows stands the last one. */
function panelOfRows(from: usize, pitch: usize, rows: u32, terms: u32, to: usize): void {
  const last = from + <usize>(rows - 1) * pitch;
  const whole = terms & ~3;
  for (let group: u32 = 0; group < PANEL_COLS; group += 4) {
    const a = min(from + group * pitch, last);
    const b = min(a + pitch, last);
    const c = min(b + pitch, last);
    const d = min(c + pitch, last);
    for (let term: usize = 0; term < whole; term += 4) {
      const at = term * 4;
      transpose4(v128.load(a + at), v128.load(b + at), v128.load(c + at), v128.load(d + at), to + term * TERM, TERM);
    }
    for (let term: usize = whole; term < terms; term++) {
      const at = term * 4;
      store<f32>(to + term * TERM, load<f32>(a + at));
      store<f32>(to + term * TERM, load<f32>(b + at), 4);
      store<f32>(to + term * TERM, load<f32>(c + at), 8);
      store<f32>(to + term * TERM, load<f32>(d + at), 12);
    }
    to += 16;
  }
}
