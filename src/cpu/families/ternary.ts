import type { Gemm } from "../../device/families/products.ts";
import type { TernaryRows } from "../../device/ternary-rows.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { pitchBytes, pointer } from "../operands.ts";
import type { CpuKernel, Members } from "../parameters.ts";
import { evenly } from "../pieces.ts";
import { BASIS, basisValues } from "./basis.ts";

export const TERNARY_PRODUCT = {
  name: "ternaryProduct",
  members: {
    ...BASIS,
    rows: "u32",
    cols: "u32",
    target: "pointer",
    pitch: "u32",
    transposed: "flag",
    accumulate: "flag",
    scale: "f32",
    a: "pointer",
    aPitch: "u32",
    terms: "u32",
    overRows: "flag",
    firstRow: "u32",
    pieceRows: "u32",
    pieceCols: "u32",
    pieces: "u32",
  },
} as const satisfies CpuKernel<Members>;

/** Rows (or columns) of the basis and rows of a that a piece has at most: see delta.ts. */
export const TERNARY_PIECE = { rows: 384, cols: 576, rowStep: 64, colStep: 16 } as const;

/** y (+)= scale · a·T (NN), or scale · a·Tᵀ (NT), for rows T of a ternary basis. */
export function ternaryProduct(on: Dispatcher, operands: Gemm, { basis, first }: TernaryRows): void {
  const { order, a, y, scale = 1, bias, residual, accumulate = false } = operands;
  if (order === "TN" || bias !== undefined || residual !== undefined) {
    throw new TypeError(`${basis.buffer.label}: ternary bases are multiplied with in NT and NN alone`);
  }
  const [cols, rows] = y.shape;
  const { rows: most, cols: mostCols, rowStep, colStep } = TERNARY_PIECE;
  const acrossCols = evenly(cols, mostCols, colStep);
  const wanted = Math.ceil((4 * on.threads) / acrossCols.count);
  const downRows = evenly(rows, Math.min(most, Math.ceil(rows / wanted)), rowStep);
  on.dispatch(
    TERNARY_PRODUCT,
    {
      ...basisValues(basis),
      rows,
      cols,
      target: pointer(y, accumulate ? "change" : "write"),
      pitch: pitchBytes(y),
      transposed: true,
      accumulate,
      scale,
      a: pointer(a),
      aPitch: pitchBytes(a),
      terms: a.shape[1],
      overRows: order === "NN",
      firstRow: first,
      pieceRows: downRows.size,
      pieceCols: acrossCols.size,
      pieces: acrossCols.count,
    },
    acrossCols.count * downRows.count,
  );
}
