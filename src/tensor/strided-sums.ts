import { STRIDED_SUMS_WIDTH, stridedSumsKernel, stridedSumsParameters } from "../kernels/strided-sums.ts";
import { bind, rowBlocks } from "./row-blocks.ts";
import type { Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";
import { weightDtype } from "./weight.ts";

/** Elements from row to row of y, from column to column, and from term to term. */
export interface Steps {
  readonly row: number;
  readonly col: number;
  readonly term: number;
}

/** A tensor, whose first element is the first one's, and the way from there to the others. */
export interface Strided {
  readonly of: Tensor;
  readonly steps: Steps;
}

/** y[i, j] (+)= scale · Σₜ x · w over `terms`. */
export interface StridedProduct {
  /** F32, F16 or BF16. Where y's columns are its rows, it may be more than the GPU binds at once. */
  readonly x: Strided;
  /** F32. */
  readonly w: Strided;
  /** F32. */
  readonly y: Tensor;
  readonly terms: number;
  readonly scale: number;
  /** Adds to what y holds instead of assigning it, padding within whole vectors included. */
  readonly accumulate?: boolean;
}

/** Records sums of products of elements that lie at regular distances, in blocks of at most 256 terms. */
export function recordStridedSums(run: Run, { x, w, y, terms, scale, accumulate = false }: StridedProduct): void {
  const [rows, cols] = y.shape;
  const most = run.gpu.limits.maxComputeWorkgroupsPerDimension;
  const rowsY = Math.min(rows, most);
  const inRows = x.steps.col === x.of.pitch && x.of.shape[0] === cols;
  const blocks = inRows ? rowBlocks(run, x.of) : [{ ...bind(run, x.of), rows: cols }];
  const [from, to] = [bind(run, w.of), bind(run, y)];
  for (const { first, rows: count, binding, offset } of blocks) {
    const padded = Math.ceil(count / 4) * 4;
    run.dispatch(
      stridedSumsKernel(weightDtype("strided sums", x.of)),
      stridedSumsParameters({
        rows,
        cols: count,
        padded,
        terms,
        xAt: offset,
        xRow: x.steps.row,
        xCol: x.steps.col,
        xTerm: x.steps.term,
        wAt: from.offset + first * w.steps.col,
        wRow: w.steps.row,
        wCol: w.steps.col,
        wTerm: w.steps.term,
        y: [to.offset + first, y.pitch],
        accumulate,
        scale,
        rowsY,
      }),
      [binding, from.binding, to.binding],
      [Math.ceil(padded / STRIDED_SUMS_WIDTH), rowsY, Math.ceil(rows / rowsY)],
    );
  }
}
