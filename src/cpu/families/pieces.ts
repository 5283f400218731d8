/** How much of something a worker takes at once. */
export interface Pieces {
  /** Of a piece. */
  readonly size: number;
  readonly count: number;
}

/** Bytes that a piece of work bound by memory moves at least: some ten microseconds. */
const PIECE_BYTES = 2 ** 17;

/** Rows in pieces of about as many bytes as keep a worker busy for a while. */
export function rowPieces(rows: number, rowBytes: number): Pieces {
  const size = Math.max(1, Math.floor(PIECE_BYTES / rowBytes));
  return { size, count: Math.ceil(rows / size) };
}

/** Cuts `whole` into equal parts of at most `most`, multiples of `step`. */
export function evenly(whole: number, most: number, step: number): Pieces {
  const parts = Math.max(1, Math.ceil(whole / most));
  const size = Math.ceil(whole / parts / step) * step;
  return { size, count: Math.ceil(whole / size) };
}
