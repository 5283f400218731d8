import type { GroupedGemm } from "../../device/families/experts.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { storedCode } from "../operands.ts";
import { cpuKernel } from "../parameters.ts";
import { GEMM, matricesOf, productPieces } from "./gemm.ts";

/** Of all rows; `pieces` and their rows are those of one group. */
export const GROUPED_GEMM = cpuKernel("groupedGemm", {
  ...GEMM.members,
  /** Where groups begin, and behind them the end of the last. */
  begins: "row",
  groups: "u32",
});

/** Which rows a group has is known when they have been counted, so there are pieces for the least favorable way to divide them. */
export function groupedGemm(on: Dispatcher, product: GroupedGemm): void {
  const { order, a, b, begins } = product;
  const groups = begins.shape[1] - 1;
  const isSum = order === "TN";
  const rows = isSum ? a.shape[1] : a.shape[0];
  const matrices = matricesOf(product);
  const { cols } = matrices;
  const filled = Math.min(groups, rows);
  const piece = productPieces(on, { order, b }, isSum ? rows : Math.ceil(rows / Math.max(1, filled)), cols);
  const pieces = Math.ceil(cols / piece.cols);
  const tiles = isSum
    ? groups * Math.ceil(rows / piece.rows)
    : Math.floor((rows + filled * (piece.rows - 1)) / piece.rows);
  on.dispatch(
    on.chosen(GROUPED_GEMM, storedCode("product", b)),
    {
      ...matrices,
      rows,
      bias: undefined,
      residual: undefined,
      accumulate: isSum,
      scale: 1,
      pieceRows: piece.rows,
      pieceCols: piece.cols,
      pieces,
      begins,
      groups,
    },
    pieces * tiles,
  );
}
