import { SplitPreTokenizer } from "@huggingface/tokenizers";

import { PartError, type Pattern } from "./part.ts";

/** What happens to the delimiters of a split; tokenizers' `SplitDelimiterBehavior`. */
export const BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"] as const;
export type Behavior = (typeof BEHAVIORS)[number];

/**
 * `s` and `ſ` (U+017F), `k` and `K` (U+212A) are the letters of ASCII that Unicode's case folding gives a partner
 * outside of it. Oniguruma honours them in `(?i:…)`, which every tokenizer since GPT-4's uses for 's, 't, 're …; the
 * library folds ASCII only.
 */
const FOLDED: Readonly<Record<string, string>> = { s: "[sSſ]", k: "[kK\u212A]" };

/**
 * Compiles a pattern of tokenizer.json. The translation from Oniguruma's syntax and character classes to JavaScript's
 * is @huggingface/tokenizers'; case-insensitive groups of plain letters are widened first.
 *
 * @returns a global, Unicode-aware expression; it keeps `lastIndex`, so use it with `matchAll` and `replaceAll` only
 * @throws {PartError} when the expression cannot be expressed in JavaScript
 */
export function compilePattern(pattern: Pattern): RegExp {
  if ("String" in pattern) return new RegExp(pattern.String.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"), "gu");
  const widened = pattern.Regex.replace(/\(\?i:([^()[\]\\]*)\)/g, (_, body: string) => `(?i:${foldLetters(body)})`);
  try {
    const { pattern: compiled } = new SplitPreTokenizer({
      type: "Split",
      pattern: { Regex: widened },
      behavior: "Isolated",
      invert: false,
    });
    if (compiled !== null) return compiled;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new PartError(`the regular expression ${pattern.Regex} is not supported: ${error.message}`, true);
  }
  throw new PartError(`the regular expression ${pattern.Regex} is not supported`, true);
}

function foldLetters(body: string): string {
  return body.replace(/[sk]/gi, (letter) => FOLDED[letter.toLowerCase()] ?? letter);
}

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
export function* splitText(text: string, pattern: RegExp, behavior: Behavior, invert = false): Generator<string> {
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

function* stretches(text: string, pattern: RegExp, invert: boolean): Generator<Stretch> {
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) yield { start: end, delimiter: invert };
    // Empty matches count for merging but yield no piece of their own.
    yield { start: match.index, delimiter: !invert };
    end = match.index + match[0].length;
  }
  if (end < text.length) yield { start: end, delimiter: invert };
}

function joins(behavior: Behavior, delimiter: boolean, next: boolean): boolean {
  if (behavior === "Contiguous") return delimiter === next;
  if (behavior === "MergedWithPrevious") return next && !delimiter;
  return behavior === "MergedWithNext" && delimiter && !next;
}
