import type { ColumnSums } from "../../device/families/elementwise.ts";
import { COLUMN_SUMS_KERNEL, COLUMN_SUMS_WIDTH } from "../kernels/column-sums.ts";
import type { Dispatcher } from "../context.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";

/** Terms of one sum at most. */
const MOST_TERMS = 256;
/** Terms of a partial sum where there are several: few, so that all of a GPU has work. */
const BLOCK = 64;

export function columnSums(on: Dispatcher, { a, times, segments = 1, y }: ColumnSums): void {
  const cols = y.shape[1];
  const rows = a.shape[0] * segments;
  const last = rows <= MOST_TERMS;
  const blocks = last ? 1 : Math.ceil(rows / BLOCK);
  const width = Math.ceil(cols / 4);
  const sums = last ? y : takeScratch(on, "column sums", [blocks, cols]);
  on.dispatch(
    COLUMN_SUMS_KERNEL,
    {
      width,
      rows,
      segments,
      block: last ? MOST_TERMS : BLOCK,
      product: times !== undefined,
      a,
      b: times,
      y: sums,
    },
    [a, times, sums],
    [Math.ceil(width / COLUMN_SUMS_WIDTH), blocks],
  );
  if (last) return;
  columnSums(on, { a: sums, y });
  giveScratch(on, sums);
}
