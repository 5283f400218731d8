// Products by routines: which part of what is copied, laid in panels, multiplied and stored, in which order.
import type { Caller } from "../caller.ts";
import type { Stored } from "../machine.ts";
import { BLOCK_TERMS, ROW_PITCH, ROWS_AT } from "../routines/layout.ts";
import { FEW_ROWS } from "../routines/few.ts";
import { STORED_BYTES } from "../machine.ts";

/** y = scale · product + bias + residual (+ y), as the words of `GEMM` say it. Addresses are bytes from the heap's begin. */
export interface Product {
  readonly rows: number;
  readonly cols: number;
  readonly terms: number;
  /** The rows of a, of b are the terms. */
  readonly aTerms: boolean;
  readonly bTerms: boolean;
  readonly a: number;
  readonly aPitch: number;
  readonly stored: Stored;
  readonly b: number;
  readonly bPitch: number;
  readonly y: number;
  readonly yPitch: number;
  /** 0: none. */
  readonly bias: number;
  readonly residual: number;
  readonly residualPitch: number;
  readonly accumulate: boolean;
  /** The bits of an f32. */
  readonly scale: number;
}

/** Rows of x that lie in scratch at once. */
export const MOST_ROWS = 224;
/** Bytes from term to term of x whose rows are the terms. */
const TERM_PITCH = MOST_ROWS * 4 + 64;

/** Computes a rectangle of y. */
export function multiply(on: Caller, p: Product, firstRow: number, rows: number, firstCol: number, cols: number): void {
  if (rows === 0) return;
  if (rows <= FEW_ROWS && !p.aTerms && !p.bTerms) return multiplyFew(on, p, firstRow, rows, firstCol, cols);
  for (let row = 0; row < rows; row += MOST_ROWS) {
    multiplyRows(on, p, firstRow + row, Math.min(MOST_ROWS, rows - row), firstCol, cols);
  }
}

function multiplyRows(on: Caller, p: Product, firstRow: number, rows: number, firstCol: number, cols: number): void {
  const { routines, code } = on;
  const { panelCols } = code;
  const panel = on.scratch;
  const sums = panel + panelCols * BLOCK_TERMS * 4;
  const x = sums + MOST_ROWS * panelCols * 4;
  for (let first = 0; first < p.terms; first += BLOCK_TERMS) {
    const terms = Math.min(BLOCK_TERMS, p.terms - first);
    if (p.aTerms) {
      on.call(routines.copy, p.a + first * p.aPitch + firstRow * 4, p.aPitch, terms, fours(rows), x, TERM_PITCH);
    } else {
      on.call(routines.copy, p.a + firstRow * p.aPitch + first * 4, p.aPitch, rows, fours(terms), x, ROW_PITCH);
    }
    for (let col = 0; col < cols; col += panelCols) {
      const count = Math.min(panelCols, cols - col);
      writePanel(on, p, firstCol + col, count, first, terms, panel);
      multiplyTiles(on, p.aTerms, x, rows, panel, terms, sums);
      store(on, p, firstRow, rows, firstCol + col, count, first === 0, sums, panelCols);
    }
  }
}

/** The rows of b are read to their end, some side by side. */
function multiplyFew(on: Caller, p: Product, firstRow: number, rows: number, firstCol: number, cols: number): void {
  const { fewCols } = on.code;
  const routine = on.routines.few[p.stored][rows] ?? 0;
  const column = on.scratch;
  const sums = column + fewCols * 4;
  for (let col = 0; col < cols; col += fewCols) {
    const count = Math.min(fewCols, cols - col);
    rowsOfPanel(on, p, firstCol + col, count, fewCols);
    for (let first = 0; first < p.terms; first += BLOCK_TERMS) {
      const terms = Math.min(BLOCK_TERMS, p.terms - first);
      const x = p.a + firstRow * p.aPitch + first * 4;
      on.call(routine, first * STORED_BYTES[p.stored], terms, x, p.aPitch, sums, column);
      store(on, p, firstRow, rows, firstCol + col, count, first === 0, sums, fewCols);
    }
  }
}

/** Where the rows of b begin that are a panel's columns; the last one stands in the place of missing ones. */
function rowsOfPanel(on: Caller, p: Product, col: number, cols: number, width: number): void {
  for (let at = 0; at < width; at++) on.set(ROWS_AT + at, p.b + (col + Math.min(at, cols - 1)) * p.bPitch);
}

function fours(count: number): number {
  return (count + 3) >>> 2;
}

/** A panel of b's columns. */
function writePanel(
  on: Caller,
  p: Product,
  col: number,
  cols: number,
  first: number,
  terms: number,
  panel: number,
): void {
  const { routines } = on;
  const bytes = STORED_BYTES[p.stored];
  if (p.bTerms) {
    const from = p.b + first * p.bPitch + col * bytes;
    on.call(routines.panelFromTerms[p.stored], from, p.bPitch, terms, fours(cols), panel);
    return;
  }
  rowsOfPanel(on, p, col, cols, on.code.panelCols);
  on.call(routines.panelFromRows[p.stored], first * bytes, terms, panel);
}

/** The sums of all rows, in as few tiles as there can be, of nearly the same size. */
function multiplyTiles(
  on: Caller,
  across: boolean,
  x: number,
  rows: number,
  panel: number,
  terms: number,
  sums: number,
): void {
  const { routines, code } = on;
  const tiles = across ? routines.tileAlongRows : routines.tileAlongTerms;
  const step = across ? 4 : ROW_PITCH;
  const count = Math.ceil(rows / code.tileRows);
  const small = Math.floor(rows / count);
  // So many have a row more.
  const large = rows - small * count;
  if (large > 0) on.call(tiles[small + 1] ?? 0, x, TERM_PITCH, panel, terms, sums, large);
  const done = large * (small + 1);
  on.call(
    tiles[small] ?? 0,
    x + done * step,
    TERM_PITCH,
    panel,
    terms,
    sums + done * code.panelCols * 4,
    count - large,
  );
}

/** Takes sums over into y, whose padding within whole vectors of 4 becomes zero. */
function store(
  on: Caller,
  p: Product,
  firstRow: number,
  rows: number,
  col: number,
  cols: number,
  isFirst: boolean,
  sums: number,
  sumsPitch: number,
): void {
  const padding = -cols & 3;
  if (padding > 0) {
    const words = on.words(0);
    for (let row = 0; row < rows; row++) {
      const end = sums / 4 + row * sumsPitch + cols;
      words.fill(0, end, end + padding);
    }
  }
  const adds =
    (!isFirst || p.accumulate ? 1 : 0) | (isFirst && p.bias !== 0 ? 2 : 0) | (isFirst && p.residual !== 0 ? 4 : 0);
  on.call(
    on.routines.finish[adds] ?? 0,
    sums,
    sumsPitch * 4,
    p.y + firstRow * p.yPitch + col * 4,
    p.yPitch,
    rows,
    fours(cols),
    p.bias + col * 4,
    p.residual + firstRow * p.residualPitch + col * 4,
    p.residualPitch,
    p.scale,
  );
}
