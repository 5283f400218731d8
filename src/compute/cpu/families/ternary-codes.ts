import { takeScratch } from "../../device/scratch.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { TernaryRows } from "../../device/ternary-rows.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";
import { BASIS, basisValues } from "./basis.ts";

/** Codes of T's rows or columns, 16 terms a word. */
export const TERNARY_CODES = cpuKernel("ternaryCodes", {
  ...BASIS,
  /** Of T. */
  firstRow: "u32",
  rows: "u32",
  cols: "u32",
  target: "target",
  /** Its columns become rows. */
  transposed: "flag",
  /** A multiple of 16. */
  pieceRows: "u32",
});

/** Terms of a word of codes. */
const WORD = 16;

/**
 * The codes of rows of a ternary basis, in rows that run along the terms of sums: in the basis' own buffer where that will do, else in
 * scratch, to be given back.
 * @param transposed columns of the basis become rows
 */
export function codesOf(on: Dispatcher, { basis, first, shape }: TernaryRows, transposed: boolean): Tensor {
  const [rows, cols] = shape;
  if (basis.storage === "ternary" && !transposed) {
    const pitch = basis.stride / WORD;
    return { buffer: basis.buffer, dtype: "U32", shape: [rows, pitch], offset: first * pitch, pitch };
  }
  const [height, width] = transposed ? [cols, rows] : [rows, cols];
  const target = takeScratch(on, "codes of a basis", [height, Math.ceil(width / WORD)], "U32");
  const pieceRows = Math.ceil(rowPieces(rows, cols).pieceRows / WORD) * WORD;
  const part = { firstRow: first, rows, cols, target, transposed, pieceRows };
  on.dispatch(TERNARY_CODES, { ...basisValues(basis), ...part }, Math.ceil(rows / pieceRows));
  return target;
}
