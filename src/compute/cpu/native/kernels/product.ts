// Products by routines: which part of what is copied, laid in panels, multiplied and stored, in which order.
import type { Caller } from "../caller.ts";
import { DTYPE_CODES, isKernelDtype, isRoundedDtype, type StoredDtype } from "../../../device/dtype.ts";
import { STORED_BYTES, type Stored } from "../machine.ts";
import { FEW_ROWS } from "../routines/few.ts";
import { BLOCK_TERMS, FEW_COLS, FEW_PITCH, ROW_PITCH, ROWS_AT } from "../routines/layout.ts";
import { multiplyBlocks, panelFromBlocks } from "./blocks.ts";
import {
  blocksBytes,
  copyRows,
  fours,
  MOST_ROWS,
  multiplyTiles,
  setRows,
  storeFew,
  storeSums,
  type Target,
  TERM_PITCH,
} from "./tiles.ts";

/** y = scale · product + bias + residual (+ y), as the words of `GEMM` say it. Addresses are bytes from the heap's begin. */
export interface Product extends Target {
  readonly rows: number;
  readonly cols: number;
  readonly terms: number;
  /** The rows of a, of b are the terms. */
  readonly aTerms: boolean;
  readonly bTerms: boolean;
  readonly a: number;
  readonly aPitch: number;
  readonly stored: StoredDtype;
  readonly b: number;
  readonly bPitch: number;
  /** Of b in blocks. */
  readonly scales: number;
  readonly scalesPitch: number;
}

/**
 * Rows of x, of 256 terms each, that lie in scratch at once beside what `normed-gemm.ts` has there, which is of fewer than these; with
 * the partial sums of few rows they take 254 KB.
 */
const SHARED_ROWS = 176;

/** Where in a worker's scratch rows of a format that no routine reads lie as numbers: between what `normedGemm` has there. */
const NUMBERS = 2 ** 18 + 2 ** 17;

/** Computes a rectangle of y. */
export function multiply(on: Caller, p: Product, firstRow: number, rows: number, firstCol: number, cols: number): void {
  if (rows === 0) return;
  const { stored } = p;
  const along = !p.aTerms && !p.bTerms;
  if (along && isRoundedDtype(stored)) {
    for (let row = firstRow; row < firstRow + rows; row += MOST_ROWS) {
      const count = Math.min(MOST_ROWS, firstRow + rows - row);
      const x = p.a + row * p.aPitch;
      multiplyBlocks(on, { ...p, stored }, x, p.aPitch, count, firstCol, cols, p.terms, p, row);
    }
    return;
  }
  // WebAssembly has no instruction for halves: of more rows it makes numbers of them once.
  const most = on.code.along && stored === "F16" ? 2 : on.code.fewRows;
  if (along && rows <= most && isKernelDtype(stored)) {
    const each = Math.ceil(rows / Math.ceil(rows / FEW_ROWS));
    for (let row = 0; row < rows; row += each) {
      multiplyFew(on, p, stored, firstRow + row, Math.min(each, rows - row), firstCol, cols);
    }
    return;
  }
  const multiplySome = along && on.code.along ? multiplyAlong : multiplyRows;
  for (let row = 0; row < rows; row += MOST_ROWS) {
    multiplySome(on, p, firstRow + row, Math.min(MOST_ROWS, rows - row), firstCol, cols);
  }
}

/** Terms of so many rows of x that lie in scratch at once: of few rows many, and b's rows are read to their end. */
function termsOf(rows: number): number {
  return Math.max(1, Math.floor(SHARED_ROWS / rows)) * BLOCK_TERMS;
}

function multiplyRows(on: Caller, p: Product, firstRow: number, rows: number, firstCol: number, cols: number): void {
  const { routines, code } = on;
  const { panelCols } = code;
  const panel = on.scratch;
  const sums = panel + panelCols * BLOCK_TERMS * 4;
  const x = sums + MOST_ROWS * panelCols * 4;
  const step = p.aTerms ? BLOCK_TERMS : termsOf(rows);
  for (let begin = 0; begin < p.terms; begin += step) {
    const end = Math.min(begin + step, p.terms);
    if (p.aTerms) {
      const from = p.a + begin * p.aPitch + firstRow * 4;
      on.call(routines.copy.F32, from, p.aPitch, end - begin, fours(rows), x, TERM_PITCH);
    } else copyRows(on, p.a + firstRow * p.aPitch + begin * 4, p.aPitch, rows, end - begin, x);
    for (let col = 0; col < cols; col += panelCols) {
      const count = Math.min(panelCols, cols - col);
      for (let first = begin; first < end; first += BLOCK_TERMS) {
        const terms = Math.min(BLOCK_TERMS, end - first);
        const from = x + blocksBytes(rows, first - begin);
        writePanel(on, p, firstCol + col, count, first, terms, panel);
        multiplyTiles(on, p.aTerms ? "rows" : "terms", from, rows, panel, terms, sums);
        storeSums(on, sums, panelCols * 4, rows, count, p, firstRow, firstCol + col, first === 0);
      }
    }
  }
}

/** Columns of a panel of `multiplyAlong`, and rows of x that are multiplied with all of it at once. */
const [ALONG_COLS, ALONG_ROWS] = [48, 16];

/** The sums of `along.ts` of many rows: the panel has b's rows as they are, in f32. */
function multiplyAlong(on: Caller, p: Product, firstRow: number, rows: number, firstCol: number, cols: number): void {
  const panel = on.scratch;
  const sums = panel + ALONG_COLS * ROW_PITCH;
  const x = sums + (MOST_ROWS + 1) * FEW_PITCH;
  const routine = on.routines.few.F32[2] ?? 0;
  const step = termsOf(rows);
  for (let begin = 0; begin < p.terms; begin += step) {
    const end = Math.min(begin + step, p.terms);
    copyRows(on, p.a + firstRow * p.aPitch + begin * 4, p.aPitch, rows, end - begin, x);
    for (let col = 0; col < cols; col += ALONG_COLS) {
      const count = Math.min(ALONG_COLS, cols - col);
      for (let first = begin; first < end; first += BLOCK_TERMS) {
        const terms = Math.min(BLOCK_TERMS, end - first);
        writeRows(on, p, firstCol + col, count, first, terms, panel);
        for (let row = 0; row < rows; row += ALONG_ROWS) {
          const tiles = (Math.min(ALONG_ROWS, rows - row) + 1) >>> 1;
          const [from, to] = [x + blocksBytes(rows, first - begin) + row * ROW_PITCH, sums + row * FEW_PITCH];
          const next = 4 * ROW_PITCH;
          on.setSteps(ROWS_AT, 4, panel, ROW_PITCH, 3);
          on.call(routine, terms, from, to, 0, 0, fours(count), next, tiles, 0, 0);
        }
        storeSums(on, sums, FEW_PITCH, rows, count, p, firstRow, firstCol + col, first === 0);
      }
    }
  }
}

/** Rows of b, in f32. */
function writeRows(on: Caller, p: Product, col: number, cols: number, first: number, terms: number, to: number): void {
  const { stored, b, bPitch, scales, scalesPitch } = p;
  if (isKernelDtype(stored)) {
    const from = b + col * bPitch + first * STORED_BYTES[stored];
    return on.call(on.routines.copy[stored], from, bPitch, cols, fours(terms), to, ROW_PITCH);
  }
  const [rows, by] = [b + col * bPitch, scales + col * scalesPitch];
  on.parts.loadRows(DTYPE_CODES[stored], rows, bPitch, by, scalesPitch, cols, first, terms, to, ROW_PITCH);
}

/** The rows of b are read to their end, some side by side. `FEW_ROWS` rows at most. */
export function multiplyFew(
  on: Caller,
  p: Product,
  stored: Stored,
  firstRow: number,
  rows: number,
  firstCol: number,
  cols: number,
  column = on.scratch,
): void {
  const { fewCols } = on.code;
  const routine = on.routines.few[stored][rows] ?? 0;
  const copied = column + fewCols * 4;
  // One row is as it was.
  const xNext = rows > 1 ? rows * ROW_PITCH : BLOCK_TERMS * 4;
  const step = termsOf(rows);
  const sums = copied + blocksBytes(rows, Math.min(step, p.terms));
  for (let begin = 0; begin < p.terms; begin += step) {
    const terms = Math.min(step, p.terms - begin);
    const from = p.a + firstRow * p.aPitch + begin * 4;
    if (rows > 1) copyRows(on, from, p.aPitch, rows, terms, copied);
    const x = rows > 1 ? copied : from;
    const bytes = begin * STORED_BYTES[stored];
    for (let col = firstCol; col < firstCol + cols; col += FEW_COLS) {
      const width = Math.min(FEW_COLS, firstCol + cols - col);
      // Rows that fill no block go by themselves.
      for (let at = 0; at < width;) {
        const [blocks, count] = [Math.max(1, Math.floor((width - at) / fewCols)), Math.min(fewCols, width - at)];
        const [b, next] = [p.b + (col + at) * p.bPitch, fewCols * p.bPitch];
        setRows(on, b + bytes, p.bPitch, count, fewCols);
        const [to, ahead, tiles] = [sums + at * 4, b + next + fewCols * bytes, (rows + 1) >>> 1];
        on.call(routine, terms, x, to, ahead, column, blocks, next, tiles, xNext, rows * FEW_PITCH);
        at += blocks * count;
      }
      storeFew(on, sums, Math.ceil(terms / BLOCK_TERMS), rows, width, p, firstRow, col, begin === 0);
    }
  }
}

/** The same of a format that no routine reads: the module makes numbers of it. */
function panelOfNumbers(
  on: Caller,
  { stored, b, bPitch, bTerms, scales, scalesPitch }: Product,
  col: number,
  cols: number,
  first: number,
  terms: number,
  panel: number,
): void {
  const { code, parts, routines } = on;
  const format = DTYPE_CODES[stored];
  const load = (row: number, rows: number, from: number, count: number, to: number, step: number) =>
    parts.loadRows(
      format,
      b + row * bPitch,
      bPitch,
      scales + row * scalesPitch,
      scalesPitch,
      rows,
      from,
      count,
      to,
      step,
    );
  if (bTerms) return load(first, terms, col, cols, panel, code.panelCols * 4);
  const room = on.begin + NUMBERS;
  load(col, cols, first, terms, room, ROW_PITCH);
  setRows(on, room, ROW_PITCH, cols, code.panelCols);
  on.call(routines.panelFromRows.F32, 0, terms, panel, room);
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
  const { routines, code } = on;
  const { stored } = p;
  if (isRoundedDtype(stored)) return panelFromBlocks(on, { ...p, stored }, col, first, terms, panel);
  if (!isKernelDtype(stored)) return panelOfNumbers(on, p, col, cols, first, terms, panel);
  const bytes = STORED_BYTES[stored];
  if (p.bTerms) {
    const from = p.b + first * p.bPitch + col * bytes;
    on.call(routines.copy[stored], from, p.bPitch, terms, fours(cols), panel, code.panelCols * 4);
    return;
  }
  setRows(on, p.b + col * p.bPitch, p.bPitch, cols, code.panelCols);
  const ahead = p.b + (col + code.panelCols) * p.bPitch + code.panelCols * first * bytes;
  on.call(routines.panelFromRows[stored], first * bytes, terms, panel, ahead);
}
