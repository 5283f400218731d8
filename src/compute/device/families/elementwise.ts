import type { DropoutMask } from "../../random/dropout.ts";
import type { RowKernel } from "../../rows/language.ts";
import type { Tensor } from "../tensor.ts";

/** A row kernel. */
export interface Elementwise {
  readonly kernel: RowKernel;
  /** F32 of one shape, or one row that all segments of the others share, by the names of its operands. */
  readonly tensors: Readonly<Record<string, Tensor | undefined>>;
  /** Its parameters. */
  readonly numbers?: Readonly<Record<string, number>> | undefined;
}

/** Columns of a segment: as many as what is shared has, or all of a row. */
export function columnsOf({ shared, targets }: RowKernel, tensors: Elementwise["tensors"]): number {
  const [row] = shared.flatMap((operand) => tensors[operand] ?? []);
  const [all] = Object.keys(targets).flatMap((target) => tensors[target] ?? []);
  return (row ?? all)?.shape[1] ?? 0;
}

/** y = x · mask / (1 − rate), or y += …, for F32 matrices of one shape. */
export interface Dropout {
  readonly x: Tensor;
  readonly mask: DropoutMask;
  readonly y: Tensor;
  readonly accumulate: boolean;
}

/** y[c] = Σ_t a[t, c], or Σ_t a[t, c] · times[t, c]: in partial sums of at most 256 terms, added up in a fixed order. */
export interface ColumnSums {
  /** (rows, segments · cols) F32. */
  readonly a: Tensor;
  /** Of the shape of a. */
  readonly times?: Tensor | undefined;
  /** Parts of a row that are summed as if they were rows; 1 by default. With several cols is a multiple of 4. */
  readonly segments?: number | undefined;
  /** (1, cols) F32, assigned. */
  readonly y: Tensor;
}
