import { COLUMN_SUMS_KERNEL, COLUMN_SUMS_WIDTH, columnSumsParameters } from "../kernels/column-sums.ts";
import { type Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";
import { place, whole } from "./row-blocks.ts";

/** Terms of one sum at most. */
const MOST_TERMS = 256;
/** Terms of a partial sum where there are several: few, so that all of a GPU has work. */
const BLOCK = 64;

export interface ColumnSums {
  /** (rows, segments · cols) F32. */
  readonly a: Tensor;
  /** Of the shape of a, and perhaps a factor for each segment of each row, (rows · segments) one after the other. */
  readonly times?: { readonly b: Tensor; readonly factors?: Tensor } | undefined;
  /** Parts of a row that are summed as if they were rows; 1 by default. With several cols is a multiple of 4. */
  readonly segments?: number | undefined;
  /** (1, cols) F32, assigned. */
  readonly y: Tensor;
}

/**
 * Records y[c] = Σ_t a[t, c], or Σ_t a[t, c] · b[t, c] · factors[t] (factors of 1 by default): the gradient of what is
 * added to every row, or multiplies it. In partial sums of at most 256 terms, added up in a fixed order.
 */
export function recordColumnSums(run: Run, { a, times, segments = 1, y }: ColumnSums): void {
  const cols = y.shape[1];
  const rows = a.shape[0] * segments;
  const last = rows <= MOST_TERMS;
  const blocks = last ? 1 : Math.ceil(rows / BLOCK);
  const width = Math.ceil(cols / 4);
  const sums = last ? y : run.allocate("column sums", [blocks, cols]);
  run.dispatch(
    COLUMN_SUMS_KERNEL,
    columnSumsParameters({
      width,
      rows,
      segments,
      block: last ? MOST_TERMS : BLOCK,
      product: times === undefined ? 0 : times.factors === undefined ? 2 : 1,
      a: place(a),
      b: place(times?.b),
      y: place(sums),
    }),
    [
      whole(run, a),
      times === undefined ? run.nothing : whole(run, times.b),
      times?.factors === undefined ? run.nothing : whole(run, times.factors),
      whole(run, sums),
    ],
    [Math.ceil(width / COLUMN_SUMS_WIDTH), blocks],
  );
  if (last) return;
  recordColumnSums(run, { a: sums, y });
  run.release(sums);
}
