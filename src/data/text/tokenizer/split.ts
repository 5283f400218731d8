import type { TextPattern } from "./pattern.ts";

/** What happens to the delimiters of a split; tokenizers' `SplitDelimiterBehavior`. */
export const BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"] as const;
export type Behavior = (typeof BEHAVIORS)[number];

/** A stretch of text that matches, or does not; it reaches to where the next one starts. */
interface Stretch {
  readonly start: number;
  readonly delimiter: boolean;
}

/**
 * Cuts a text at the matches of a pattern, as tokenizers' `NormalizedString::split` does.
 *
 * @param invert what does not match is the delimiter
 * @returns the pieces in order, none of them empty; the text is searched as they are asked for
 */
export function* splitText(text: string, pattern: TextPattern, behavior: Behavior, invert = false): Generator<string> {
  let from = 0; // where the piece begins that is not cut yet
  let last: Stretch | undefined;
  for (const stretch of stretches(text, pattern, invert)) {
    if (last !== undefined) {
      const { start, delimiter } = stretch;
      if (behavior !== "Removed" && joins(behavior, last.delimiter, delimiter)) {
        last = stretch;
        continue;
      }
      if (start > from && !(behavior === "Removed" && last.delimiter)) yield text.slice(from, start);
      from = start;
    }
    last = stretch;
  }
  if (from < text.length && !(behavior === "Removed" && last?.delimiter === true)) yield text.slice(from);
}

function* stretches(text: string, pattern: TextPattern, invert: boolean): Generator<Stretch> {
  let end = 0;
  for (const match of pattern.matchAll(text)) {
    if (match.start > end) yield { start: end, delimiter: invert };
    // Empty matches count for merging but yield no piece of their own.
    yield { start: match.start, delimiter: !invert };
    ({ end } = match);
  }
  if (end < text.length) yield { start: end, delimiter: invert };
}

function joins(behavior: Behavior, delimiter: boolean, next: boolean): boolean {
  if (behavior === "Contiguous") return delimiter === next;
  if (behavior === "MergedWithPrevious") return next && !delimiter;
  return behavior === "MergedWithNext" && delimiter && !next;
}
