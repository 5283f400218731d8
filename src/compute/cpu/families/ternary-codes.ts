import type { TernaryRows } from "../../device/ternary-rows.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { bound } from "../operands.ts";
import type { CpuKernel, Members, Pointer } from "../parameters.ts";
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
    target: "pointer",
    pitch: "u32",
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
  readonly at: Pointer;
  /** Bytes from row to row. */
  readonly pitch: number;
  /** Scratch of the recording, to be released. */
  readonly isScratch: boolean;
}

/**
 * The codes of rows of a ternary basis: as they are stored where that will do, else in scratch.
 * @param transposed columns of the basis become rows
 */
export function codesOf(on: Dispatcher, { basis, first, shape }: TernaryRows, transposed: boolean): Codes {
  const values = basisValues(basis);
  const [rows, cols] = shape;
  if (basis.storage === "ternary" && !transposed) {
    const { rowBytes } = values;
    const at = { ...bound(basis.buffer), offset: first * rowBytes, size: rows * rowBytes };
    return { at, pitch: rowBytes, isScratch: false };
  }
  const [height, width] = transposed ? [cols, rows] : [rows, cols];
  const pitch = Math.ceil(width / WORD) * 4;
  const buffer = on.memory.allocate("codes of a basis", height * pitch);
  const target = { ...bound(buffer), access: "write" } as const;
  const pieceRows = Math.ceil(rowPieces(rows, cols).pieceRows / WORD) * WORD;
  const words = { firstRow: first, rows, cols, target, pitch, transposed, pieceRows };
  on.dispatch(TERNARY_CODES, { ...values, ...words }, Math.ceil(rows / pieceRows));
  return { at: bound(buffer), pitch, isScratch: true };
}
