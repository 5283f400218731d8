import type { ColumnSums } from "../../device/families/elementwise.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel } from "../parameters.ts";

/** y = Σ a or Σ a · b over rows, and over the segments of each. */
export const COLUMN_SUMS = cpuKernel("columnSums", {
  rows: "u32",
  segments: "u32",
  /** Vectors of 4 in a segment. */
  width: "u32",
  a: "matrix",
  b: "matrix",
  y: "targetRow",
});

/** Vectors of 4 columns of a piece. */
export const GROUP = 4;

export function columnSums(on: Dispatcher, { a, times, segments = 1, y }: ColumnSums): void {
  const width = Math.ceil(y.shape[1] / 4);
  on.dispatch(COLUMN_SUMS, { rows: a.shape[0], segments, width, a, b: times, y }, Math.ceil(width / GROUP));
}
