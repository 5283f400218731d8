/** A text being written: the cursor stands before unit `cursor` (UTF-16), always between graphemes. */
export interface Buffer {
  readonly text: string;
  readonly cursor: number;
}

/** A position that is derived from the cursor's. */
export type Motion = (buffer: Buffer) => number;

export const left: Motion = ({ text, cursor }) => previousBoundary(text, cursor);
export const right: Motion = ({ text, cursor }) => nextBoundary(text, cursor);

/** After the last newline before the cursor. */
export const lineStart: Motion = ({ text, cursor }) => (cursor === 0 ? 0 : text.lastIndexOf("\n", cursor - 1) + 1);

export const lineEnd: Motion = ({ text, cursor }) => {
  const end = text.indexOf("\n", cursor);
  return end < 0 ? text.length : end;
};

/** The end of the word that the cursor is in or before: letters, digits and what marks them. */
export const wordEnd: Motion = ({ text, cursor }) => {
  let at = cursor;
  while (at < text.length && !isWord(text, at)) at = nextBoundary(text, at);
  while (at < text.length && isWord(text, at)) at = nextBoundary(text, at);
  return at;
};

/** The start of the word that the cursor is in or behind. */
export const wordStart: Motion = (buffer) => backwards(buffer, isWord);

/** The same for words as a shell sees them: whatever stands between white space. */
export const shellWordStart: Motion = (buffer) => backwards(buffer, isNoSpace);

export function insert({ text, cursor }: Buffer, added: string): Buffer {
  return { text: text.slice(0, cursor) + added + text.slice(cursor), cursor: cursor + added.length };
}

/** The cursor out of the middle of a grapheme, where an edit made two become one: to its end. */
export function snap({ text, cursor }: Buffer): Buffer {
  if (cursor === 0) return { text, cursor };
  const start = previousBoundary(text, cursor);
  return { text, cursor: Math.max(cursor, nextBoundary(text, start)) };
}

/** Takes out what lies between the cursor and `to`, on either side. */
export function remove({ text, cursor }: Buffer, to: number): Buffer & { readonly removed: string } {
  const start = Math.min(cursor, to);
  const end = Math.max(cursor, to);
  return { text: text.slice(0, start) + text.slice(end), cursor: start, removed: text.slice(start, end) };
}

/**
 * The cursor one line up (−1) or down (1), as far from the line's start as it was.
 * @returns undefined where there is no such line
 */
export function verticalMove(buffer: Buffer, direction: -1 | 1): number | undefined {
  const { text, cursor } = buffer;
  const start = lineStart(buffer);
  const offset = cursor - start;
  const target = direction < 0 ? lineStart({ text, cursor: start - 1 }) : lineEnd(buffer) + 1;
  if (direction < 0 ? start === 0 : target > text.length) return undefined;
  const end = lineEnd({ text, cursor: target });
  const wished = Math.min(target + offset, end);
  // The same offset may fall inside a character there.
  return wished === end ? end : previousBoundary(text, nextBoundary(text, wished));
}

function backwards({ text, cursor }: Buffer, belongs: (text: string, at: number) => boolean): number {
  let at = cursor;
  while (at > 0 && !belongs(text, previousBoundary(text, at))) at = previousBoundary(text, at);
  while (at > 0 && belongs(text, previousBoundary(text, at))) at = previousBoundary(text, at);
  return at;
}

function isWord(text: string, at: number): boolean {
  return /[\p{L}\p{N}\p{M}_]/u.test(String.fromCodePoint(text.codePointAt(at) ?? 0));
}

function isNoSpace(text: string, at: number): boolean {
  return !/\s/u.test(text[at] ?? "");
}

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** No character that a person sees is longer, in UTF-16 units; a longer one is taken in parts. */
const LONGEST = 64;
/** Where a window may begin without cutting anything: these never join what stands before them. */
const PLAIN = /[\n\x20-\x7e]/;

/** A character as a person sees it: a letter with its marks, an emoji with its joiners. */
interface Grapheme {
  readonly text: string;
  /** UTF-16 units from the beginning of the text. */
  readonly index: number;
}

/** Cuts a text into graphemes (Unicode UAX #29, by `Intl.Segmenter`). */
export function* graphemes(text: string): Generator<Grapheme> {
  for (const { segment, index } of segmenter.segment(text)) yield { text: segment, index };
}

/** The boundary after `index`; the text's length at its end. */
function nextBoundary(text: string, index: number): number {
  const [first] = segmenter.segment(text.slice(index, index + LONGEST));
  return index + (first?.segment.length ?? 0);
}

/** The boundary before `index`; 0 at the beginning. */
function previousBoundary(text: string, index: number): number {
  let from = Math.max(0, index - LONGEST);
  while (from > 0 && from > index - 2 * LONGEST && !PLAIN.test(text[from] ?? "")) from--;
  let last = from;
  for (const { index: at } of segmenter.segment(text.slice(from, index))) last = from + at;
  return Math.min(last, index);
}
