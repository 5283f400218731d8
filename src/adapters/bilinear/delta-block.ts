import type { Binding } from "../../gpu/stream.ts";

/** Blocks of W start at multiples of this many rows: whole tiles for 8 and 16 lanes, and aligned bindings of B̂. */
export const BLOCK_ROWS = 192;

/** Where ΔW of a block of rows of W goes, in f32. */
export interface DeltaBlock {
  /** First row of W in this block, a multiple of `BLOCK_ROWS`, and the number of rows. */
  readonly firstRow: number;
  readonly rows: number;
  readonly target: Binding;
  /** Elements in `target` before the first row's first, a multiple of 4; 0 by default. */
  readonly at?: number;
  /** Elements from row to row, a multiple of 4. */
  readonly pitch: number;
  /** Adds to what is there instead of assigning. */
  readonly accumulate?: boolean;
}

/** Rows and columns of ΔW, for a look at some of its elements. */
export interface DeltaSample {
  readonly rows: readonly number[];
  readonly cols: readonly number[];
}
