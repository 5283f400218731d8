import { DTYPE_CODES } from "../../device/dtype.ts";
import type { Strided, StridedProduct } from "../../device/families/strided-sums.ts";
import { elementBytes } from "../../device/tensor.ts";
import { weightDtype } from "../../device/weight.ts";
import type { Dispatcher } from "../dispatcher.ts";
import type { Pointer } from "../operands.ts";
import { cpuKernel } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";

/** y[i, j] (+)= scale · Σₜ x · w; steps in elements, of row, column and term. */
export const STRIDED_SUMS = cpuKernel("stridedSums", {
  rows: "u32",
  cols: "u32",
  terms: "u32",
  /** Of x. */
  dtype: "u32",
  x: "pointer",
  xRow: "u32",
  xCol: "u32",
  xTerm: "u32",
  w: "pointer",
  wRow: "u32",
  wCol: "u32",
  wTerm: "u32",
  y: "target",
  accumulate: "flag",
  scale: "f32",
  pieceRows: "u32",
});

export function stridedSums(on: Dispatcher, { x, w, y, terms, scale, accumulate = false }: StridedProduct): void {
  const [rows, cols] = y.shape;
  const { pieceRows, count } = rowPieces(rows, cols * terms);
  on.dispatch(
    STRIDED_SUMS,
    {
      rows,
      cols,
      terms,
      dtype: DTYPE_CODES[weightDtype("strided sums", x.of)],
      x: begin(x),
      xRow: x.steps.row,
      xCol: x.steps.col,
      xTerm: x.steps.term,
      w: w && begin(w),
      wRow: w?.steps.row ?? 0,
      wCol: w?.steps.col ?? 0,
      wTerm: w?.steps.term ?? 0,
      y,
      accumulate,
      scale,
      pieceRows,
    },
    count,
  );
}

/** From the first element to the end of the buffer: steps lead anywhere behind it. */
function begin({ of: { buffer, offset, dtype } }: Strided): Pointer {
  const before = offset * elementBytes(dtype);
  return { buffer, offset: before, size: buffer.size - before, access: "read" };
}
