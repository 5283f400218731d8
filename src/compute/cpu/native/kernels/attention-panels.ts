// What attention and its gradients have in common: one side's rows stand side by side in panels, the other's follow one another.
import type { Caller } from "../caller.ts";
import { STORED_BYTES, type Stored } from "../machine.ts";
import { BLOCK_TERMS, ROWS_AT } from "../routines/layout.ts";
import { blocksBytes, fours, multiplyTiles, PLAIN, setRows, storeSums } from "./tiles.ts";

/** Hands out a thread's scratch, part after part. */
export function roomsOf(on: Caller): (bytes: number) => number {
  let next = on.scratch;
  return (bytes) => {
    next += bytes;
    return next - bytes;
  };
}

/** A panel of own rows, `head` numbers long, wherever each begins. */
export function panelOf(on: Caller, count: number, rowAt: (row: number) => number, head: number, to: number): void {
  on.set(ROWS_AT, on.code.panelCols, (row) => rowAt(Math.min(row, count - 1)));
  on.call(on.routines.panelFromRows.F32, 0, head, to, to);
}

/** The same of rows that are equally far apart. */
export function panelOfRows(on: Caller, from: number, pitch: number, count: number, head: number, to: number): void {
  setRows(on, from, pitch, count, on.code.panelCols);
  on.call(on.routines.panelFromRows.F32, 0, head, to, to);
}

/**
 * Products of `count` rows of the other side, the first of which is at `x`, with a panel of own ones.
 * @param rows that `copyRows` has laid there
 * @param room for sums of blocks of terms behind the first, as many as `sums`
 */
export function multiplyRows(
  on: Caller,
  x: number,
  rows: number,
  count: number,
  panel: number,
  head: number,
  sums: number,
  room: number,
): void {
  const { panelCols } = on.code;
  const pitch = panelCols * 4;
  multiplyTiles(on, "terms", x, count, panel, Math.min(BLOCK_TERMS, head), sums);
  for (let first = BLOCK_TERMS; first < head; first += BLOCK_TERMS) {
    const terms = Math.min(BLOCK_TERMS, head - first);
    multiplyTiles(on, "terms", x + blocksBytes(rows, first), count, panel + first * pitch, terms, room);
    storeSums(on, room, pitch, count, panelCols, { ...PLAIN, y: sums, yPitch: pitch }, 0, 0, false);
  }
}

/** Bytes of `termsOf`. */
export function termsBytes(on: Caller, head: number, rows: number): number {
  const { panelCols } = on.code;
  return Math.ceil(head / panelCols) * panelCols * rows * 4;
}

/** The same rows as the terms of sums: panels of their columns, each `rows` rows high. */
export function termsOf(
  on: Caller,
  from: number,
  pitch: number,
  count: number,
  head: number,
  rows: number,
  to: number,
  stored: Stored = "F32",
): void {
  const { panelCols } = on.code;
  for (let col = 0; col < head; col += panelCols) {
    const width = Math.min(panelCols, head - col);
    on.call(
      on.routines.copy[stored],
      from + col * STORED_BYTES[stored],
      pitch,
      count,
      fours(width),
      to + col * rows * 4,
      panelCols * 4,
    );
  }
}
