import type { Sinks, SinksGradient } from "../../device/families/attention.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";

const MEMBERS = {
  rows: "u32",
  heads: "u32",
  /** Elements of a head. */
  head: "u32",
  pieceRows: "u32",
  sinks: "row",
} as const;

/** A score of each head that has no value, taken into results and sums of attention, in place. */
export const SINKS = cpuKernel("sinks", { ...MEMBERS, y: "target", lse: "target" });

/** What each token adds to the gradient of each head's score. */
export const SINKS_GRADIENT = cpuKernel("sinksGradient", {
  ...MEMBERS,
  y: "matrix",
  lse: "matrix",
  dy: "matrix",
  dlse: "matrix",
  parts: "target",
});

function rowsOf({ sinks: given, y }: Sinks) {
  const [rows, cols] = y.shape;
  const [, heads] = given.shape;
  const { pieceRows, count } = rowPieces(rows, cols);
  return { words: { rows, heads, head: cols / heads, pieceRows }, count };
}

export function sinks(on: Dispatcher, operands: Sinks): void {
  const { words, count } = rowsOf(operands);
  on.dispatch(SINKS, { ...words, ...operands }, count);
}

export function sinksGradient(on: Dispatcher, operands: SinksGradient): void {
  const { words, count } = rowsOf(operands);
  on.dispatch(SINKS_GRADIENT, { ...words, ...operands }, count);
}
