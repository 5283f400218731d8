import type { GroupedGemm } from "../../device/families/experts.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { pitchBytes, pointer, scaled } from "../operands.ts";
import type { CpuKernel, Members } from "../parameters.ts";
import { GEMM, productPieces } from "./gemm.ts";

export const GROUPED_GEMM = {
  name: "groupedGemm",
  members: { ...GEMM.members, begins: "pointer", groups: "u32" },
} as const satisfies CpuKernel<Members>;

export const GROUPED_GEMM_FMA = { ...GROUPED_GEMM, fma: true } as const;

/** Which rows a group has is known when they have been counted, so there are pieces for the least favorable way to divide them. */
export function groupedGemm(on: Dispatcher, { order, a, b, y, begins }: GroupedGemm): void {
  const groups = begins.shape[1] - 1;
  const isSum = order === "TN";
  const rows = isSum ? a.shape[1] : a.shape[0];
  const [, cols] = y.shape;
  const stored = scaled("product", b);
  const fma = on.has(GROUPED_GEMM_FMA, stored.dtype);
  const filled = Math.min(groups, rows);
  const piece = productPieces(on, fma, { order, b }, isSum ? rows : Math.ceil(rows / Math.max(1, filled)), cols);
  const pieces = Math.ceil(cols / piece.cols);
  const tiles = isSum
    ? groups * Math.ceil(rows / piece.rows)
    : Math.floor((rows + filled * (piece.rows - 1)) / piece.rows);
  on.dispatch(
    fma ? GROUPED_GEMM_FMA : GROUPED_GEMM,
    {
      rows,
      cols,
      terms: isSum ? a.shape[0] : a.shape[1],
      aTerms: isSum,
      bTerms: order !== "NT",
      a: pointer(a),
      aPitch: pitchBytes(a),
      b: pointer(b),
      bPitch: pitchBytes(b),
      ...stored,
      y: pointer(y, "write"),
      yPitch: pitchBytes(y),
      bias: undefined,
      residual: undefined,
      residualPitch: 0,
      accumulate: isSum,
      scale: 1,
      pieceRows: piece.rows,
      pieceCols: piece.cols,
      pieces,
      begins: pointer(begins),
      groups,
    },
    pieces * tiles,
  );
}
