import { BLOCK_ROWS } from "../../compute/device/families/delta.ts";

/** Consecutive rows of a matrix. */
export interface RowRange {
  readonly firstRow: number;
  readonly rows: number;
}

/**
 * Bytes of one block on the GPU, roughly: large enough to hide the cost of a dispatch and of the tables of sparse bases, which all
 * rows of a block share; small beside the memory limit.
 */
const BLOCK_BYTES = 4 * 2 ** 20;

/** Times `BLOCK_ROWS` in a block at least, however long its rows: the CPU device makes lists of a sparse basis anew for each block. */
const LEAST_TILES = 2;

/**
 * Splits a matrix into blocks of about `BLOCK_BYTES` that start at multiples of `BLOCK_ROWS`.
 * @param rowBytes of one row in its widest form
 */
export function splitRows(rows: number, rowBytes: number): RowRange[] {
  const most = Math.max(LEAST_TILES, Math.floor(BLOCK_BYTES / rowBytes / BLOCK_ROWS)) * BLOCK_ROWS;
  const blocks: RowRange[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += most) {
    blocks.push({ firstRow, rows: Math.min(most, rows - firstRow) });
  }
  return blocks;
}
