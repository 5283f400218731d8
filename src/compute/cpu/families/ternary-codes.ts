import { takeScratch } from "../../device/scratch.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { TernaryRows } from "../../device/ternary-rows.ts";
import type { Dispatcher } from "../dispatcher.ts";
import type { CpuKernel, Members } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";
import { BASIS, basisValues } from "./basis.ts";

/** Codes of T's rows or columns, 16 terms a word. */
export const TERNARY_CODES = {
  name: "ternaryCodes",
  members: {
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
  },
} as const satisfies CpuKernel<Members>;

/** Terms of a word of codes. */
const WORD = 16;

/** Codes in rows that run along the terms of sums. */
export interface Codes {
  readonly words: Tensor;
  /** Scratch of the recording, to be given back. */
  readonly isScratch: boolean;
}

/**
 * The codes of rows of a ternary basis: as they are stored where that will do, else in scratch.
 * @param transposed columns of the basis become rows
 */
export function codesOf(on: Dispatcher, { basis, first, shape }: TernaryRows, transposed: boolean): Codes {
  const [rows, cols] = shape;
  if (basis.storage === "ternary" && !transposed) {
    const pitch = basis.stride / WORD;
    const { buffer } = basis;
    return { words: { buffer, dtype: "U32", shape: [rows, pitch], offset: first * pitch, pitch }, isScratch: false };
  }
  const [height, width] = transposed ? [cols, rows] : [rows, cols];
  const target = takeScratch(on, "codes of a basis", [height, Math.ceil(width / WORD)], "U32");
  const pieceRows = Math.ceil(rowPieces(rows, cols).pieceRows / WORD) * WORD;
  const part = { firstRow: first, rows, cols, target, transposed, pieceRows };
  on.dispatch(TERNARY_CODES, { ...basisValues(basis), ...part }, Math.ceil(rows / pieceRows));
  return { words: target, isScratch: true };
}
