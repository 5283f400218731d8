import type { Gemm } from "../../device/families/products.ts";
import { giveScratch } from "../../device/scratch.ts";
import { ternaryDensity, type TernaryRows } from "../../device/ternary-rows.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel, type Members, type Values } from "../parameters.ts";
import { LISTED_TERMS } from "../native/routines/layout.ts";
import { evenly } from "../pieces.ts";
import { codesOf } from "./ternary-codes.ts";
import { DELTA_TARGET, SCALED_TERMS } from "./words.ts";

/** T X for a ternary T, and what X is. */
const OPERANDS = {
  ...DELTA_TARGET,
  terms: "u32",
  x: "matrix",
  ...SCALED_TERMS,
} as const satisfies Members;

export const TERNARY = cpuKernel("ternary", {
  ...OPERANDS,
  codes: "matrix",
  listTerms: "u32",
  pieceRows: "u32",
  pieceCols: "u32",
  pieces: "u32",
});

/**
 * Rows of a piece at most, where lists are long and where they are of many terms, so that panels take longer than sums; and what columns
 * are multiples of: a panel's, with the widest vectors.
 */
const PIECE = { rows: 384, sparseRows: 768, rowStep: 64, colStep: 32 } as const;
/** Terms of a list, so that it has some tens of entries: as many as its panel has room for in the second-level cache. */
const LIST_TERMS = { least: 256, most: LISTED_TERMS } as const;
const ENTRIES = 64;

/** Terms of a partial sum: they follow from the density alone. */
function listTermsOf(density: number): number {
  const { least, most } = LIST_TERMS;
  return Math.min(most, Math.max(least, Math.ceil(ENTRIES / density / 16) * 16));
}

/**
 * y (+)= scale · T X, for T of rows of a ternary basis or the transpose of that.
 * @param transposed sums are over T's columns
 */
export function ternary(
  on: Dispatcher,
  basis: TernaryRows,
  transposed: boolean,
  operands: Values<typeof OPERANDS>,
): void {
  const codes = codesOf(on, basis, transposed);
  const listTerms = listTermsOf(ternaryDensity(basis.basis));
  const { rows, cols } = operands;
  // Some rows, and all columns where there are few threads: lists are made anew for other columns, panels for other rows.
  const down = evenly(rows, listTerms > LIST_TERMS.least ? PIECE.sparseRows : PIECE.rows, PIECE.rowStep);
  const across = evenly(cols, (cols * down.count) / (2 * on.threads), PIECE.colStep);
  on.dispatch(
    on.chosen(TERNARY),
    { ...operands, codes, listTerms, pieceRows: down.size, pieceCols: across.size, pieces: across.count },
    across.count * down.count,
  );
  if (codes.buffer !== basis.basis.buffer) giveScratch(on, codes);
}

/** No Ŝ. */
const NOT_SCALED = { fastCount: 0, lambda: undefined, fast: undefined, slow: undefined };

/**
 * y (+)= scale · a·T (NN), or scale · a·Tᵀ (NT), for rows T of a ternary basis, without products: y's transpose, as sums run along
 * a's rows.
 */
export function ternaryProduct(on: Dispatcher, operands: Gemm, rows: TernaryRows): void {
  const { order, a, y, scale = 1, bias, residual, accumulate = false } = operands;
  if (order === "TN" || bias !== undefined || residual !== undefined) {
    throw new TypeError(`${rows.basis.buffer.label}: ternary bases are multiplied with in NT and NN alone`);
  }
  const [cols, sums] = y.shape;
  ternary(on, rows, order === "NN", {
    rows: sums,
    cols,
    target: y,
    transposed: true,
    accumulate,
    scale,
    terms: a.shape[1],
    x: a,
    ...NOT_SCALED,
  });
}
