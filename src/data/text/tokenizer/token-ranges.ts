import { readByteToken } from "./byte-fallback.ts";

/** A part of a text in UTF-16 units, `end` not included. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Whether two ranges have a part in common; an empty range has none with any. */
export function overlap(a: Range, b: Range): boolean {
  return a.start < b.end && b.start < a.end;
}

/**
 * Which part of a piece each of its tokens stands for, from how the tokens are written. Tokens of a character's single
 * bytes (`<0xF0>`) stand for that character, all of them. An unknown token reaches to where the next known one is found;
 * the last token reaches to the end. How far several unknown tokens in a row reach is a guess.
 *
 * @param piece what a token model was given
 * @param tokens what it returned, as the vocabulary writes them
 */
export function tokenRanges(piece: string, tokens: readonly string[]): Range[] {
  const ranges: Range[] = [];
  let at = 0;
  for (const [i, token] of tokens.entries()) {
    const byte = piece.startsWith(token, at) ? undefined : readByteToken(token);
    const before = ranges.at(-1);
    if (byte !== undefined && (byte & 0xc0) === 0x80 && before !== undefined) {
      ranges.push(before);
      continue;
    }
    let end = at + token.length;
    if (byte !== undefined) end = at + (byte >= 0xf0 ? 2 : 1);
    else if (i === tokens.length - 1) end = piece.length;
    else if (!piece.startsWith(token, at)) end = Math.max(piece.indexOf(tokens[i + 1] ?? "", at + 1), at + 1);
    ranges.push({ start: at, end });
    at = end;
  }
  return ranges;
}
