import type { GroupBias, GroupSums } from "../../device/families/experts.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";

const MEMBERS = { groups: "u32", cols: "u32", begins: "row", x: "matrix" } as const;

/** Biases of the groups that rows belong to. */
export const GROUP_BIAS = cpuKernel("groupBias", {
  ...MEMBERS,
  rows: "u32",
  pieceRows: "u32",
  bias: "row",
  y: "target",
});

/** Sums over the rows of each group. */
export const GROUP_SUMS = cpuKernel("groupSums", { ...MEMBERS, y: "targetRow" });

export function groupBias(on: Dispatcher, operands: GroupBias): void {
  const { x, begins } = operands;
  const [rows, cols] = x.shape;
  const { pieceRows, count } = rowPieces(rows, cols);
  on.dispatch(GROUP_BIAS, { groups: begins.shape[1] - 1, cols, rows, pieceRows, ...operands }, count);
}

export function groupSums(on: Dispatcher, operands: GroupSums): void {
  const groups = operands.begins.shape[1] - 1;
  on.dispatch(GROUP_SUMS, { groups, cols: operands.x.shape[1], ...operands }, groups);
}
