/** Turns one piece of text into ids: the part of a tokenizer that was trained. */
export interface TokenModel {
  /** The vocabulary without added tokens. */
  readonly ids: ReadonlyMap<string, number>;
  /** Appends the ids of a piece to `out`. */
  encode(piece: string, out: number[]): void;
  /** Ids that a piece gives at least: told in a fraction of the time that encoding it takes. */
  atLeast(piece: string): number;
}

/** Shorter pieces are encoded faster than their ids are estimated. */
const LONG_PIECE = 4096;

/**
 * Every character that the vocabulary knows ends up in a token, and none of them is longer than the longest; what is
 * unknown may be dropped, or become one token with its neighbours.
 */
export function leastIds(piece: string, ids: ReadonlyMap<string, number>, longest: number): number {
  if (piece.length < LONG_PIECE) return 0;
  let known = 0;
  for (const character of piece) if (ids.has(character)) known += character.length;
  return Math.ceil(known / longest);
}

/** The length of the longest token, in UTF-16 units. */
export function longestToken(ids: ReadonlyMap<string, number>): number {
  let longest = 1;
  for (const token of ids.keys()) longest = Math.max(longest, token.length);
  return longest;
}
