/** Numbers that a piece takes at least, where there are so many: some ten microseconds. */
const LEAST = 2 ** 14;

/** How rows that have nothing to do with each other are cut into pieces. */
interface RowPieces {
  readonly pieceRows: number;
  readonly count: number;
}

/** Pieces of whole rows, of `numbers` numbers each. */
export function rowPieces(rows: number, numbers: number): RowPieces {
  const pieceRows = Math.max(1, Math.floor(LEAST / Math.max(1, numbers)));
  return { pieceRows, count: Math.ceil(rows / pieceRows) };
}

/** How a matrix whose numbers have nothing to do with each other is cut into rectangles. */
interface Rectangles {
  readonly words: {
    readonly rows: number;
    /** Vectors of 4 in a row, and in one of a piece. */
    readonly width: number;
    readonly pieceRows: number;
    readonly pieceWidth: number;
    /** Pieces side by side. */
    readonly pieces: number;
  };
  readonly count: number;
}

/** The members of a kernel that `Rectangles.words` are. */
export const RECTANGLES = {
  rows: "u32",
  /** Vectors of 4 in a row. */
  width: "u32",
  /** Rows and vectors of a piece, and pieces side by side. */
  pieceRows: "u32",
  pieceWidth: "u32",
  pieces: "u32",
} as const;

/**
 * Pieces of a matrix of this shape, its padding within whole vectors included.
 * @param whole rows are not cut
 */
export function rectangles([rows, cols]: readonly [rows: number, cols: number], whole = false): Rectangles {
  const width = Math.ceil(cols / 4);
  const pieceWidth = whole ? width : Math.min(width, LEAST / 4);
  const { pieceRows, count } = rowPieces(rows, pieceWidth * 4);
  const pieces = Math.ceil(width / Math.max(1, pieceWidth));
  return { words: { rows, width, pieceRows, pieceWidth, pieces }, count: pieces * count };
}

/** How a whole is cut into equal parts. */
export interface Parts {
  /** Of one; the last may be smaller. */
  readonly size: number;
  readonly count: number;
}

/** Parts of at most `most` and a bit, each but the last a multiple of `step`. */
export function evenly(whole: number, most: number, step: number): Parts {
  const size = Math.ceil(whole / Math.max(1, Math.ceil(whole / most)) / step) * step;
  return { size, count: Math.ceil(whole / size) };
}

/**
 * Columns of a piece of a product whose rows are one piece high: so many that all threads have equally many pieces, which
 * are as large as may be. Each column's sums are its own, so no bit follows from it.
 * @param most columns of a piece, whole tiles
 * @param tile columns that a kernel takes at once, and half of what a piece has at least: x is packed for each
 */
export function pieceColumns(cols: number, most: number, threads: number, tile: number): number {
  const rounds = Math.ceil(cols / (most * threads));
  const each = Math.ceil(cols / Math.max(1, rounds * threads) / tile) * tile;
  return Math.min(most, Math.max(2 * tile, each));
}

/** What copying x for a piece takes, in columns of it. */
const COPY = 8;

/**
 * Columns of a piece of a product with many rows, whole tiles: such that threads end together, as each has equally many of them as
 * far as may be.
 * @param down pieces above each other
 */
export function evenColumns(cols: number, most: number, tile: number, down: number, threads: number): number {
  let best = { size: tile, time: Infinity };
  for (let count = Math.ceil(cols / most); count <= Math.ceil(cols / tile); count++) {
    const size = Math.ceil(cols / count / tile) * tile;
    const time = Math.ceil((down * Math.ceil(cols / size)) / threads) * (size + COPY);
    if (time < best.time) best = { size, time };
  }
  return best.size;
}
