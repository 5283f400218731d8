import { isRoundedDtype } from "../../device/dtype.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import type { Matrix, Tensor } from "../../device/tensor.ts";
import { ROUNDED_TERMS, roundedRowsKernel } from "../kernels/rounded-rows.ts";
import { bind } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";

/** Rows for products of whole numbers, in scratch: see rounded-rows.wgsl. */
export interface RoundedRows {
  /** (rows, terms / 2) U32: two words for four terms. */
  readonly halves: Tensor;
  /** (rows, 256 terms each) F32. */
  readonly scales: Tensor;
}

/**
 * Are products of many rows with the rows of this matrix of whole numbers? Those of few are bound by reading the matrix, and rounding
 * would be a command more for each of them.
 */
export function takesRounded({ staging }: Dispatcher, { dtype }: Matrix): boolean {
  return staging.integerDots === true && isRoundedDtype(dtype);
}

/** Rounds rows of whole blocks that can be bound together. */
export function roundRows(on: Dispatcher, x: Tensor): RoundedRows {
  const [rows, terms] = x.shape;
  const parts = Math.ceil(terms / ROUNDED_TERMS);
  const block = bind(on, x);
  const halves = takeScratch(on, "halves", [rows, terms / 2], "U32");
  const scales = takeScratch(on, "scales", [rows, parts]);
  on.dispatch(
    roundedRowsKernel(),
    { xWidth: terms / 4, halvesPitch: 2 * halves.pitch, scalesPitch: scales.pitch, x: block },
    [block, halves, scales],
    [parts, rows],
  );
  return { halves, scales };
}

/** Lets later commands use the memory of rounded rows. */
export function giveRounded(on: Dispatcher, { halves, scales }: RoundedRows): void {
  giveScratch(on, halves, scales);
}
