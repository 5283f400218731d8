/** Turns one piece of text into ids: the part of a tokenizer that was trained. */
export interface TokenModel {
  /** The vocabulary without added tokens. */
  readonly ids: ReadonlyMap<string, number>;
  /** Appends the ids of a piece to `out`. */
  encode(piece: string, out: number[]): void;
  /** As `encode`, by portions of a millisecond or so: whoever asks for the next one may do other things before. */
  encodeByPortions(piece: string, out: number[]): Iterable<void>;
  /** Ids that a piece gives at least: told in a fraction of the time that encoding it takes. */
  atLeast(piece: string): number;
}

/** Shorter pieces are encoded at once, and faster than their ids are estimated. */
export const LONG_PIECE = 4096;
/** Characters that are worked through, or pairs that are looked at, in a portion. */
export const PORTION = 8192;

/** Cuts a piece into portions, never within a character. */
export function* portions(piece: string): Generator<{ readonly start: number; readonly end: number }> {
  for (let start = 0; start < piece.length;) {
    let end = Math.min(start + PORTION, piece.length);
    if (end < piece.length && (piece.codePointAt(end - 1) ?? 0) > 0xffff) end++;
    yield { start, end };
    start = end;
  }
}

/**
 * Tells how many ids a piece gives at least. Every character that the vocabulary knows ends up in a token, and none of them
 * is longer than the longest; what is unknown may be dropped, or become one token with its neighbors.
 */
export function leastIds(ids: ReadonlyMap<string, number>): (piece: string) => number {
  let longest = 1;
  // Characters beyond the basic plane are left out: they come as two units, and the fewer are counted, the less is promised.
  const known = new Uint8Array(2 ** 16);
  for (const token of ids.keys()) {
    longest = Math.max(longest, token.length);
    if (token.length === 1) known[token.charCodeAt(0)] = 1;
  }
  return (piece) => {
    if (piece.length < LONG_PIECE) return 0;
    let count = 0;
    for (let at = 0; at < piece.length; at++) count += known[piece.charCodeAt(at)] ?? 0;
    return Math.ceil(count / longest);
  };
}

/** How long a long encoding keeps others waiting. */
const TURN_MS = 8;

/** The time since others had theirs. */
export class Turn {
  #start = performance.now();

  isOver(): boolean {
    return performance.now() - this.#start >= TURN_MS;
  }

  async end(): Promise<void> {
    await new Promise(setImmediate);
    this.#start = performance.now();
  }
}
