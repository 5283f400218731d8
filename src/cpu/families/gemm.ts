import type { Gemm, Linear } from "../../device/families/products.ts";
import { isTernaryRows } from "../../device/ternary-rows.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { optional, pitchBytes, pointer, SCALED, scaled } from "../operands.ts";
import type { CpuKernel, Members } from "../parameters.ts";
import { pieceColumns } from "../pieces.ts";
import { ternaryProduct } from "./ternary.ts";

export const GEMM = {
  name: "gemm",
  members: {
    rows: "u32",
    cols: "u32",
    terms: "u32",
    aTerms: "flag",
    bTerms: "flag",
    a: "pointer",
    aPitch: "u32",
    b: "pointer",
    bPitch: "u32",
    ...SCALED,
    y: "pointer",
    yPitch: "u32",
    bias: "pointer",
    residual: "pointer",
    residualPitch: "u32",
    accumulate: "flag",
    scale: "f32",
    pieceRows: "u32",
    pieceCols: "u32",
    pieces: "u32",
  },
} as const satisfies CpuKernel<Members>;

/** What a worker computes at once, whole tiles: its panels and sums stay in the second-level cache. */
const PIECE = { rows: 96, cols: 96 } as const;

export function gemm(on: Dispatcher, operands: Gemm): void {
  const { order, a, b, y, scale = 1, bias, residual, accumulate = false } = operands;
  if (isTernaryRows(b)) return ternaryProduct(on, operands, b);
  const [rows, cols] = y.shape;
  const isFew = order === "NT" && rows <= PIECE.rows;
  const pieceCols = isFew ? pieceColumns(cols, PIECE.cols, on.threads) : PIECE.cols;
  const pieces = Math.ceil(cols / pieceCols);
  on.dispatch(
    GEMM,
    {
      rows,
      cols,
      terms: order === "TN" ? a.shape[0] : a.shape[1],
      aTerms: order === "TN",
      bTerms: order !== "NT",
      a: pointer(a),
      aPitch: pitchBytes(a),
      b: pointer(b),
      bPitch: pitchBytes(b),
      ...scaled("product", b),
      y: pointer(y, "write"),
      yPitch: pitchBytes(y),
      bias: optional(bias),
      residual: optional(residual),
      residualPitch: pitchBytes(residual),
      accumulate,
      scale,
      pieceRows: PIECE.rows,
      pieceCols,
      pieces,
    },
    pieces * Math.ceil(rows / PIECE.rows),
  );
}

/** A row's sums are the same in a pass of one row and of many. */
export function linear(on: Dispatcher, { x, weight, ...rest }: Linear): void {
  gemm(on, { order: "NT", a: x, b: weight, ...rest });
}
