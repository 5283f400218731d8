// What attention and its gradients have in common: one side's rows stand side by side in panels, the other's follow one another.
import type { Caller } from "../caller.ts";
import { STORED_BYTES, type Stored } from "../machine.ts";
import { ROW_PITCH, ROWS_AT } from "../routines/layout.ts";
import { fours, setRows } from "./tiles.ts";

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

/** Rows of the other side as tiles multiply them with a panel of own ones. */
export function rowsOf(
  on: Caller,
  from: number,
  pitch: number,
  count: number,
  head: number,
  to: number,
  stored: Stored = "F32",
): void {
  on.call(on.routines.copy[stored], from, pitch, count, fours(head), to, ROW_PITCH);
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
