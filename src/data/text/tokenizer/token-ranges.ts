import { readByteToken } from "./byte-level.ts";
import type { Section, TokenSplitter } from "./added-tokens.ts";

/** A part of a text in UTF-16 units, `end` not included. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Characters before a place that decide what becomes of those behind it: far more than a pattern looks back. */
const CONTEXT = 256;

/** Which of `ranges` have a part of one of `spans`, 1 or 0. Both are in order, and spans have no parts in common. */
export function marksOf(ranges: readonly Range[], spans: readonly Range[]): number[] {
  let next = 0;
  return ranges.map(({ start, end }) => {
    while ((spans[next]?.end ?? Infinity) <= start) next++;
    return (spans[next]?.start ?? Infinity) < end ? 1 : 0;
  });
}

/**
 * The size of what pieces of a text come before a place of it. Asked of places in order: beyond the first few hundred
 * characters it is by how much the pieces grow, as what stands far before them adds the same to both.
 * @param size of the pieces of a part of the text
 */
export function growing(size: (from: number, end: number) => number): (at: number) => number {
  let known = { at: 0, size: 0 };
  return (at) => {
    const from = Math.max(known.at - CONTEXT, 0);
    known = { at, size: from === 0 ? size(0, at) : known.size + size(from, at) - size(from, known.at) };
    return known.size;
  };
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

/** A text in which no added tokens are looked for. */
export interface PlainText {
  readonly plain: string;
}

/**
 * A text cut at its added tokens, but not at those that overlap with `plain`.
 * @param cutsPlain whether what is plain stands by itself: tokens that are looked for later may be in it
 */
export function sectionsOf(
  splitter: TokenSplitter,
  text: string,
  plain: readonly Range[],
  cutsPlain: boolean,
): (Section | PlainText)[] {
  const wellFormed = text.toWellFormed();
  return splitter.place(wellFormed, plain).flatMap(({ start, end, id }) => {
    if (id !== undefined) return [id];
    const inside = cutsPlain ? plain.filter((span) => span.start < end && span.end > start) : [];
    let done = start;
    const sections: (Section | PlainText)[] = [];
    for (const span of inside) {
      if (span.start > done) sections.push(wellFormed.slice(done, span.start));
      sections.push({ plain: wellFormed.slice(span.start, span.end) });
      done = span.end;
    }
    return done < end ? [...sections, wellFormed.slice(done, end)] : sections;
  });
}
