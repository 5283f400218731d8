import { DTYPE_CODES } from "../../device/dtype.ts";
import {
  MAGNITUDE,
  type ColumnSquares,
  type Magnitudes,
  type Rescale,
  type RowSquares,
} from "../../device/families/magnitude.ts";
import { weightDtype } from "../../device/weight.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { pointer } from "../operands.ts";
import { cpuKernel, type Members } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";
import { inNumbers } from "./in-numbers.ts";

/** Σ (W + Δ)² of rows, or of columns. */
const SQUARES = {
  rows: "u32",
  cols: "u32",
  /** Of W. */
  dtype: "u32",
  weight: "matrix",
  /** F32; 0: W alone. */
  delta: "matrix",
  sums: "targetRow",
  /** Sums of columns are added to what is there. */
  accumulate: "flag",
  /** Rows, or columns. */
  pieceSize: "u32",
} as const satisfies Members;

export const ROW_SQUARES = cpuKernel("rowSquares", SQUARES);
export const COLUMN_SQUARES = cpuKernel("columnSquares", SQUARES);

/** Columns of a piece: whole cache lines of 16 bits and of 32. */
const PIECE_COLS = 64;

export function rowSquares(on: Dispatcher, operands: RowSquares): void {
  const [rows, cols] = operands.weight.shape;
  const { pieceRows, count } = rowPieces(rows, cols);
  inNumbers(on, operands.weight, (weight) => {
    const values = { ...squaresOf({ ...operands, weight }), accumulate: false, pieceSize: pieceRows };
    on.dispatch(ROW_SQUARES, values, count);
  });
}

export function columnSquares(on: Dispatcher, { accumulate, ...operands }: ColumnSquares): void {
  const [, cols] = operands.weight.shape;
  inNumbers(on, operands.weight, (weight) => {
    const values = { ...squaresOf({ ...operands, weight }), accumulate, pieceSize: PIECE_COLS };
    on.dispatch(COLUMN_SQUARES, values, Math.ceil(cols / PIECE_COLS));
  });
}

function squaresOf({ weight, delta, sums }: RowSquares) {
  const [rows, cols] = weight.shape;
  return {
    rows,
    cols,
    dtype: DTYPE_CODES[weightDtype("norms", weight)],
    weight,
    delta,
    sums,
  };
}

/** What a magnitude is to the norm √s of its row; a row of zeros stays one. */
export const MAGNITUDES = cpuKernel("magnitudes", {
  /** 0: to = from / norm; 1: to += from / norm, from = 0; 2: to = norm, rounded. */
  kind: "u32",
  count: "u32",
  dtype: "u32",
  sums: "row",
  from: "pointer",
  to: "targetRow",
});

export function magnitudes(on: Dispatcher, { kind, sums, from, to, dtype }: Magnitudes): void {
  on.dispatch(
    MAGNITUDES,
    {
      kind: MAGNITUDE[kind],
      count: to.shape[1],
      dtype: DTYPE_CODES[dtype],
      sums,
      from: from && pointer(from, kind === "gradient" ? "write" : "read"),
      to,
    },
    1,
  );
}

/** target = c · (W + target + Δ) − W, as (c − 1) · W + c · (target + Δ): nothing is lost to W where c is near 1. */
export const RESCALE = cpuKernel("rescale", {
  rows: "u32",
  /** Vectors of 4 in a row. */
  width: "u32",
  dtype: "u32",
  weight: "matrix",
  /** F32, rows as far apart as the target's; 0: the target holds all of ΔW. */
  delta: "row",
  target: "target",
  factors: "row",
  /** A factor a column, not a row. */
  columns: "flag",
  pieceRows: "u32",
});

export function rescale(on: Dispatcher, { weight: stored, delta, factors, columns, target }: Rescale): void {
  const [rows, cols] = stored.shape;
  const { pieceRows, count } = rowPieces(rows, cols);
  inNumbers(on, stored, (weight) =>
    on.dispatch(
      RESCALE,
      {
        rows,
        width: Math.ceil(cols / 4),
        dtype: DTYPE_CODES[weightDtype("magnitudes", weight)],
        weight,
        delta,
        target,
        factors,
        columns,
        pieceRows,
      },
      count,
    ),
  );
}
