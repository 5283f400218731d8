const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** No character that a person sees is longer, in UTF-16 units; a longer one is taken in parts. */
const LONGEST = 64;
/** Where a window may begin without cutting anything: these never join what stands before them. */
const PLAIN = /[\n\x20-\x7e]/;

/** A character as a person sees it: a letter with its marks, an emoji with its joiners. */
export interface Grapheme {
  readonly text: string;
  /** UTF-16 units from the beginning of the text. */
  readonly index: number;
}

/** Cuts a text into graphemes (Unicode UAX #29, by `Intl.Segmenter`). */
export function* graphemes(text: string): Generator<Grapheme> {
  for (const { segment, index } of segmenter.segment(text)) yield { text: segment, index };
}

/** The boundary after `index`; the text's length at its end. */
export function nextBoundary(text: string, index: number): number {
  const [first] = segmenter.segment(text.slice(index, index + LONGEST));
  return index + (first?.segment.length ?? 0);
}

/** The boundary before `index`; 0 at the beginning. */
export function previousBoundary(text: string, index: number): number {
  let from = Math.max(0, index - LONGEST);
  while (from > 0 && from > index - 2 * LONGEST && !PLAIN.test(text[from] ?? "")) from--;
  let last = from;
  for (const { index: at } of segmenter.segment(text.slice(from, index))) last = from + at;
  return Math.min(last, index);
}
