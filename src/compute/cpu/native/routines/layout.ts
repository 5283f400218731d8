// Where routines and those who call them have what they share in a worker's scratch.
import type { Machine } from "../machine.ts";

/** Terms of a partial sum. */
export const BLOCK_TERMS = 256;

/** Bytes from row to row of x where it runs along the terms: with one cache line more, rows do not share their places in a cache. */
export const ROW_PITCH = BLOCK_TERMS * 4 + 64;

/** The same of x rounded to 16 bits. */
export const WHOLE_PITCH = BLOCK_TERMS * 2 + 64;

/** Columns whose sums with few rows lie side by side, and bytes from row to row of these. */
export const FEW_COLS = 96;
export const FEW_PITCH = FEW_COLS * 4;

/**
 * Where in the list of arguments it stands, behind all others, where each row of a panel begins. In the place of missing rows stands
 * another one.
 */
export const ROWS_AT = 16;

/** Bytes that one request brings from memory. */
export const LINE = 64;

/** Terms of a panel at most that lists lead into. */
export const LISTED_TERMS = 2048;

/** Columns of a panel. */
export function panelCols({ lanes, tile }: Pick<Machine, "lanes" | "tile">): number {
  return lanes * tile.vectors;
}
