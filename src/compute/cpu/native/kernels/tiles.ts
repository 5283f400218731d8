// What kernels have in common: calls of routines for tiles of sums, and for where these go.
import type { Caller } from "../caller.ts";
import { bitsOf } from "../routines/functions.ts";
import { type Stored, STORED_BYTES } from "../machine.ts";
import { BLOCK_TERMS, FEW_PITCH, ROW_PITCH, ROWS_AT, WHOLE_PITCH } from "../routines/layout.ts";

/** Rows of x that lie in scratch at once. */
export const MOST_ROWS = 224;
/** Bytes from term to term of x whose rows are the terms. */
export const TERM_PITCH = MOST_ROWS * 4 + 64;

/** Vectors of four, of which rows are whole multiples. */
export function fours(count: number): number {
  return (count + 3) >>> 2;
}

/** Where the rows of a panel begin; the last one stands in the place of missing ones. */
export function setRows(on: Caller, first: number, pitch: number, rows: number, width: number): void {
  on.setSteps(ROWS_AT, width, first, pitch, rows - 1);
}

/** Copies rows of x that run along the terms as tiles multiply them: blocks of terms one after the other, each of all rows. */
export function copyRows(
  on: Caller,
  from: number,
  pitch: number,
  rows: number,
  terms: number,
  to: number,
  stored: Stored = "F32",
): void {
  for (let first = 0; first < terms; first += BLOCK_TERMS) {
    const [source, count] = [from + first * STORED_BYTES[stored], Math.min(BLOCK_TERMS, terms - first)];
    on.call(on.routines.copy[stored], source, pitch, rows, fours(count), to + blocksBytes(rows, first), ROW_PITCH);
  }
}

/** Bytes of so many terms of `copyRows`. */
export function blocksBytes(rows: number, terms: number): number {
  return Math.ceil(terms / BLOCK_TERMS) * rows * ROW_PITCH;
}

/**
 * The sums of rows of x with a panel.
 * @param along what the rows of x run along: the terms, `ROW_PITCH` apart, or the tile's rows
 * @param pitch from term to term where it is the tile's rows
 */
export function multiplyTiles(
  on: Caller,
  along: "terms" | "rows",
  x: number,
  rows: number,
  panel: number,
  terms: number,
  sums: number,
  pitch = TERM_PITCH,
): void {
  const { routines, code } = on;
  const tiles = along === "rows" ? routines.tileAlongRows : routines.tileAlongTerms;
  const step = along === "rows" ? 4 : ROW_PITCH;
  const { size, large } = split(rows, code.tileRows);
  if (large > 0) on.call(tiles[size + 1] ?? 0, x, pitch, panel, terms, sums, large);
  const done = large * (size + 1);
  const rest = sums + done * code.panelCols * 4;
  on.call(tiles[size] ?? 0, x + done * step, pitch, panel, terms, rest, Math.ceil(rows / code.tileRows) - large);
}

/** The same of rounded rows, `WHOLE_PITCH` apart, with a panel of whole numbers. */
export function multiplyWhole(
  on: Caller,
  x: number,
  scales: number,
  rows: number,
  panel: number,
  panelScales: number,
  blocks: number,
  sums: number,
): void {
  const { routines, code } = on;
  const { size, large } = split(rows, code.wholeRows);
  const one = (first: number, rows: number, count: number) => {
    const [from, to] = [x + first * WHOLE_PITCH, sums + first * code.panelCols * 4];
    on.call(routines.tileOfBlocks[rows] ?? 0, from, scales + first * 4, panel, panelScales, blocks, to, count);
  };
  if (large > 0) one(0, size + 1, large);
  one(large * (size + 1), size, Math.ceil(rows / code.wholeRows) - large);
}

/** Rows in as few tiles as there can be, of nearly the same size: so many tiles have a row more. */
function split(rows: number, most: number): { readonly size: number; readonly large: number } {
  const count = Math.ceil(rows / most);
  const size = Math.floor(rows / count);
  return { size, large: rows - size * count };
}

/** Where sums go: y = scale · sums (+ y) (+ bias) (+ residual). Addresses are those of the first row and column. */
export interface Target {
  readonly y: number;
  readonly yPitch: number;
  /** The bits of an f32. */
  readonly scale: number;
  /** y is added to from the first sums on. */
  readonly accumulate: boolean;
  /** 0: none. */
  readonly bias: number;
  readonly residual: number;
  readonly residualPitch: number;
}

/** A target of sums as they are. */
export const PLAIN = { scale: bitsOf(1), accumulate: false, bias: 0, residual: 0, residualPitch: 0 } as const;

/**
 * Takes sums over into y from (row, col) on, whose padding within whole vectors of 4 becomes zero. The first sums of these
 * rows bring bias and residual, those of further terms are added.
 */
export function storeSums(
  on: Caller,
  sums: number,
  pitch: number,
  rows: number,
  cols: number,
  to: Target,
  row: number,
  col: number,
  isFirst: boolean,
): void {
  clearPadding(on, sums, pitch, rows, cols);
  const { adds, bias, residual } = addedTo(to, row, col, isFirst);
  const { yPitch, residualPitch, scale } = to;
  const [routine, y] = [on.routines.finish[adds] ?? 0, to.y + row * yPitch + col * 4];
  on.call(routine, sums, pitch, y, yPitch, rows, fours(cols), bias, residual, residualPitch, scale);
}

/** The same of partial sums of few rows, `FEW_PITCH` apart, those of the first terms before those of the next. */
export function storeFew(
  on: Caller,
  sums: number,
  parts: number,
  rows: number,
  cols: number,
  to: Target,
  row: number,
  col: number,
  isFirst: boolean,
): void {
  clearPadding(on, sums, FEW_PITCH, parts * rows, cols);
  const { adds, bias, residual } = addedTo(to, row, col, isFirst);
  const { yPitch, residualPitch, scale } = to;
  const [routine, y] = [on.routines.finishFew[adds] ?? 0, to.y + row * yPitch + col * 4];
  const next = rows * FEW_PITCH;
  on.call(routine, sums, y, yPitch, rows, fours(cols), bias, residual, residualPitch, next, parts - 1, scale);
}

function clearPadding(on: Caller, sums: number, pitch: number, rows: number, cols: number): void {
  const padding = -cols & 3;
  if (padding === 0) return;
  const words = on.words(0);
  for (let at = 0; at < rows; at++) {
    const end = (sums + at * pitch) / 4 + cols;
    words.fill(0, end, end + padding);
  }
}

/** What is added to sums from (row, col) on, and which routine does so. */
function addedTo(
  to: Target,
  row: number,
  col: number,
  isFirst: boolean,
): { readonly adds: number; readonly bias: number; readonly residual: number } {
  const bias = isFirst && to.bias !== 0 ? to.bias + col * 4 : 0;
  const residual = isFirst && to.residual !== 0 ? to.residual + row * to.residualPitch + col * 4 : 0;
  return {
    adds: (!isFirst || to.accumulate ? 1 : 0) | (bias !== 0 ? 2 : 0) | (residual !== 0 ? 4 : 0),
    bias,
    residual,
  };
}
