import type { Gemm } from "../../device/families/products.ts";
import { ternaryDensity, type TernaryRows } from "../../device/ternary-rows.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { pitchBytes, pointer } from "../operands.ts";
import type { CpuKernel, Members, Values } from "../parameters.ts";
import { evenly, type Parts } from "../pieces.ts";
import { codesOf } from "./ternary-codes.ts";
import { SCALED_TERMS, TARGET } from "./words.ts";

/** T X for a ternary T, and what X is. */
const OPERANDS = { ...TARGET, terms: "u32", x: "pointer", xPitch: "u32", ...SCALED_TERMS } as const satisfies Members;

export const TERNARY = {
  name: "ternary",
  members: {
    ...OPERANDS,
    codes: "pointer",
    codesPitch: "u32",
    threes: "flag",
    listTerms: "u32",
    pieceRows: "u32",
    pieceCols: "u32",
    pieces: "u32",
  },
} as const satisfies CpuKernel<Members>;

/** Sums that are worth the making of a table: it takes the time of a hundred looks. */
const TABLE_SUMS = 128;
/** Rows of a piece at most where tables are used, so that their sums fit into scratch: MOST_ROWS of ternary.ts of the assembly. */
const TABLE_ROWS = 2048;
/** Terms of a list, so that it has some tens of entries: as many as its panel has room for in the second-level cache. */
const LIST_TERMS = { least: 256, most: 2048 } as const;
const ENTRIES = 64;

/** Which rows, and what sums are over: T's rows, or its columns. */
export interface TernarySide {
  readonly transposed: boolean;
  /** Sums of a whole product, whatever part of it this is: bits follow from it. */
  readonly sums: number;
}

/** y (+)= scale · T X, for T of rows of a ternary basis or the transpose of that. */
export function ternary(
  on: Dispatcher,
  basis: TernaryRows,
  { transposed, sums }: TernarySide,
  operands: Values<typeof OPERANDS>,
): void {
  const density = ternaryDensity(basis.basis);
  // A look takes four terms, or the time of one that is listed.
  const threes = 4 * density >= 1 && sums >= TABLE_SUMS;
  const { least, most } = LIST_TERMS;
  const listTerms = Math.min(most, Math.max(least, Math.ceil(ENTRIES / density / 16) * 16));
  const codes = codesOf(on, basis, { transposed, threes });
  const { downRows, acrossCols } = (threes ? tablePieces : listPieces)(operands, 2 * on.threads);
  on.dispatch(
    TERNARY,
    {
      ...operands,
      codes: codes.at,
      codesPitch: codes.pitch,
      threes,
      listTerms,
      pieceRows: downRows.size,
      pieceCols: acrossCols.size,
      pieces: acrossCols.count,
    },
    acrossCols.count * downRows.count,
  );
  if (codes.isScratch) on.memory.release(codes.at.buffer);
}

interface Extent {
  readonly rows: number;
  readonly cols: number;
}

interface Pieces {
  readonly downRows: Parts;
  readonly acrossCols: Parts;
}

/** A panel of columns each, and all rows where there are few threads: each piece makes tables anew. */
function tablePieces({ rows, cols }: Extent, wanted: number): Pieces {
  const acrossCols = evenly(cols, 16, 16);
  return { acrossCols, downRows: evenly(rows, Math.min(TABLE_ROWS, (rows * acrossCols.count) / wanted), 64) };
}

/** Some rows, and all columns where there are few threads: lists are made anew for other columns, panels for other rows. */
function listPieces({ rows, cols }: Extent, wanted: number): Pieces {
  const downRows = evenly(rows, 384, 64);
  return { downRows, acrossCols: evenly(cols, (cols * downRows.count) / wanted, 16) };
}

/** No Ŝ. */
const NOT_SCALED = { fastCount: 0, lambda: undefined, fast: undefined, fastPitch: 0, slow: undefined, slowPitch: 0 };

/** y (+)= scale · a·T (NN), or scale · a·Tᵀ (NT), for rows T of a ternary basis: y's transpose, as sums run along a's rows. */
export function ternaryProduct(on: Dispatcher, operands: Gemm, rows: TernaryRows): void {
  const { order, a, y, scale = 1, bias, residual, accumulate = false } = operands;
  if (order === "TN" || bias !== undefined || residual !== undefined) {
    throw new TypeError(`${rows.basis.buffer.label}: ternary bases are multiplied with in NT and NN alone`);
  }
  const [cols, sums] = y.shape;
  ternary(
    on,
    rows,
    { transposed: order === "NN", sums },
    {
      rows: sums,
      cols,
      target: pointer(y, "write"),
      pitch: pitchBytes(y),
      transposed: true,
      accumulate,
      scale,
      terms: a.shape[1],
      x: pointer(a),
      xPitch: pitchBytes(a),
      ...NOT_SCALED,
    },
  );
}
