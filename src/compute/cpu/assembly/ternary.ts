// Products with ternary bases, without multiplying: section 6.6 of the paper asks for such a kernel.
import { DeltaTarget, storeTile } from "./delta-target";
import { ScaledTerms, scaledPanel16, scaledPanels } from "./scaled-panels";
import { listRow, mostOfList, sumList } from "./ternary-lists";
import { PANEL_COLS, panelOfRows, TERM } from "./ternary-panels";
import { sumLooks, TABLE, TABLE_TERMS, tableOf, TURN } from "./ternary-tables";

/** y (+)= scale · T X: T's rows are sums over the terms, X's columns stand side by side in panels. */
@unmanaged
class Ternary {
  /** The words of DeltaTarget. */
  rows: u32;
  cols: u32;
  target: usize;
  pitch: u32;
  transposed: u32;
  accumulate: u32;
  scale: f32;
  terms: u32;
  /** X: the transpose of rows that run along the terms; where there are none Ŝ, with the words of ScaledTerms. */
  x: usize;
  xPitch: u32;
  fastCount: u32;
  lambda: usize;
  fast: usize;
  fastPitch: u32;
  slow: usize;
  slowPitch: u32;
  /** T (rows, terms) as `ternaryCodes` leaves it. */
  codes: usize;
  codesPitch: u32;
  /** The codes are numbers of base 3, for tables; pieces have 16 columns and MOST_ROWS rows at most. */
  threes: u32;
  /** Terms of a partial sum, where they are listed. */
  listTerms: u32;
  /** Rows and columns of a piece, and pieces side by side. */
  pieceRows: u32;
  pieceCols: u32;
  pieces: u32;
}

/** Rows of a piece at most where tables are used. */
const MOST_ROWS: u32 = 2048;
/** Rows whose sums go to the target at once, where terms are listed, and bytes of lists that are held. */
const ROWS: u32 = 64;
const LISTS: usize = 524288;

export function ternary(p: Ternary, piece: u32, scratch: usize): void {
  const firstRow = (piece / p.pieces) * p.pieceRows;
  const lastRow = min(firstRow + p.pieceRows, p.rows);
  const firstCol = (piece % p.pieces) * p.pieceCols;
  const lastCol = min(firstCol + p.pieceCols, p.cols);
  if (p.threes) byTables(p, firstRow, lastRow, firstCol, lastCol, scratch);
  else byLists(p, firstRow, lastRow, firstCol, lastCol, scratch);
}

/** A table serves all rows of a piece, whose sums stay in scratch until the last term. */
function byTables(p: Ternary, firstRow: u32, lastRow: u32, col: u32, lastCol: u32, scratch: usize): void {
  const count = lastRow - firstRow;
  const sums = scratch;
  const panel = sums + MOST_ROWS * TERM;
  const table = panel + TABLE_TERMS * TERM;
  for (let first: u32 = 0; first < p.terms; first += TABLE_TERMS) {
    const terms = min(TABLE_TERMS, p.terms - first);
    const whole = (terms + TURN - 1) & ~(TURN - 1);
    panelOf(p, first, terms, col, lastCol, panel);
    memory.fill(panel + terms * TERM, 0, (whole - terms) * TERM);
    tableOf(panel, whole, table);
    let looks = p.codes + firstRow * p.codesPitch + first / 4;
    for (let row: u32 = 0; row < count; row++) {
      sumLooks(looks, whole, table, first == 0, sums + row * TERM);
      looks += p.codesPitch;
    }
  }
  storeTile(targetOf(p), firstRow, count, col, lastCol - col, true, sums, TERM);
}

/** Lists serve all columns of a piece: all of its rows are listed, unless they are unexpectedly long, then panels are formed. */
function byLists(p: Ternary, firstRow: u32, lastRow: u32, firstCol: u32, lastCol: u32, scratch: usize): void {
  const sums = scratch;
  const lists = sums + ROWS * TERM;
  const panel = lists + LISTS;
  for (let first: u32 = 0; first < p.terms; first += p.listTerms) {
    const terms = min(p.listTerms, p.terms - first);
    for (let row = firstRow; row < lastRow; ) {
      const begin = row;
      let end = lists;
      for (; row < lastRow && end + mostOfList(terms) <= panel; row++) {
        end = listRow(p.codes + row * p.codesPitch + first / 4, terms, end);
      }
      for (let col = firstCol; col < lastCol; col += PANEL_COLS) {
        const stop = min(col + PANEL_COLS, lastCol);
        panelOf(p, first, terms, col, stop, panel);
        memory.fill(panel + terms * TERM, 0, TERM);
        let list = lists;
        for (let at = begin; at < row; at += ROWS) {
          const count = min(ROWS, row - at);
          for (let i: u32 = 0; i < count; i++) list = sumList(list, panel, sums + i * TERM);
          storeTile(targetOf(p), at, count, col, stop - col, first == 0, sums, TERM);
        }
      }
    }
  }
}

/** Up to 16 columns of X. */
function panelOf(p: Ternary, first: u32, terms: u32, col: u32, lastCol: u32, to: usize): void {
  if (p.x) panelOfRows(p.x + col * p.xPitch + first * 4, p.xPitch, lastCol - col, terms, to);
  else if (lastCol - col == PANEL_COLS) scaledPanel16(scaledOf(p), first, terms, col, to);
  else scaledPanels(scaledOf(p), first, terms, col, lastCol, PANEL_COLS, 0, to);
}

// @ts-ignore: decorator
@inline
function targetOf(p: Ternary): DeltaTarget {
  return changetype<DeltaTarget>(changetype<usize>(p) + offsetof<Ternary>("rows"));
}

// @ts-ignore: decorator
@inline
function scaledOf(p: Ternary): ScaledTerms {
  return changetype<ScaledTerms>(changetype<usize>(p) + offsetof<Ternary>("fastCount"));
}
