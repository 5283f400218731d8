import type { Gemm, Linear } from "../../device/families/products.ts";
import { isTernaryRows } from "../../device/ternary-rows.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { pitchBytes, storedCode } from "../operands.ts";
import { cpuKernel } from "../parameters.ts";
import { evenColumns, evenly, pieceColumns } from "../pieces.ts";
import { ternaryProduct } from "./ternary.ts";

/** y = scale · product + bias + residual (+ y); a is F32. */
export const GEMM = cpuKernel("gemm", {
  rows: "u32",
  cols: "u32",
  terms: "u32",
  /** The rows of a, of b are the terms. */
  aTerms: "flag",
  bTerms: "flag",
  a: "matrix",
  b: "stored",
  y: "target",
  bias: "row",
  residual: "matrix",
  accumulate: "flag",
  scale: "f32",
  /** Rows and columns of a piece, and pieces side by side. */
  pieceRows: "u32",
  pieceCols: "u32",
  pieces: "u32",
});

/** What a worker computes at once. Columns are laid in panels anew for each piece: so many rows share them. */
const PIECE = { rows: 224, cols: 384, fewRows: 56 } as const;
/**
 * Bytes of W's rows in a piece of few rows, at most: what is asked of memory behind a piece is another worker's, and its first rows were
 * not asked for. So a piece is large, and there are no more of them than workers where W is small.
 */
const FEW_BYTES = 2 ** 20;
/** Rows and columns of its tiles, with the widest vectors; half as many columns are whole vectors of all. */
const [TILE_ROWS, TILE_COLS] = [14, 32];
export const HALF_TILE = TILE_COLS / 2;

/** Rows and columns of a piece. */
interface Piece {
  readonly rows: number;
  readonly cols: number;
}

/** Columns of a piece of few rows at most, of a W with rows of so many bytes. */
export function fewColumns(rowBytes: number): number {
  return Math.max(2, Math.floor(FEW_BYTES / rowBytes / TILE_COLS)) * TILE_COLS;
}

/** Rows and columns of a piece of a product with b. */
export function productPieces(
  { threads }: Dispatcher,
  { order, b }: { readonly order: Gemm["order"]; readonly b: Tensor },
  rows: number,
  cols: number,
): Piece {
  const { fewRows } = PIECE;
  if (rows <= fewRows && order === "NT") {
    return { rows: fewRows, cols: pieceColumns(cols, fewColumns(pitchBytes(b)), threads, HALF_TILE) };
  }
  const down = evenly(rows, PIECE.rows, TILE_ROWS);
  return { rows: down.size, cols: evenColumns(cols, PIECE.cols, TILE_COLS, down.count, threads) };
}

/** What kernels are told of the three matrices of a product, in any order. */
export function matricesOf({ order, a, b, y }: Pick<Gemm, "order" | "a" | "y"> & { readonly b: Tensor }) {
  return {
    cols: y.shape[1],
    terms: order === "TN" ? a.shape[0] : a.shape[1],
    aTerms: order === "TN",
    bTerms: order !== "NT",
    a,
    b,
    y,
  };
}

export function gemm(on: Dispatcher, operands: Gemm): void {
  const { order, b, y, scale = 1, bias, residual, accumulate = false } = operands;
  if (isTernaryRows(b)) return ternaryProduct(on, operands, b);
  const [rows, cols] = y.shape;
  const piece = productPieces(on, { order, b }, rows, cols);
  const pieces = Math.ceil(cols / piece.cols);
  on.dispatch(
    on.chosen(GEMM, storedCode("product", b)),
    {
      ...matricesOf({ ...operands, b }),
      rows,
      bias,
      residual,
      accumulate,
      scale,
      pieceRows: piece.rows,
      pieceCols: piece.cols,
      pieces,
    },
    pieces * Math.ceil(rows / piece.rows),
  );
}

/** A row's sums are the same in a pass of one row and of many. */
export function linear(on: Dispatcher, { x, weight, ...rest }: Linear): void {
  gemm(on, { order: "NT", a: x, b: weight, ...rest });
}
