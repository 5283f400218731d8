import { SplitPreTokenizer } from "@huggingface/tokenizers";
import { type Found, LinearRegExp } from "../regex/linear-regexp.ts";
import { RegexLimitError } from "../regex/syntax.ts";
import { quote } from "../../../files/failure.ts";
import { PartError, type Pattern } from "./part.ts";

/**
 * `s` and `ſ` (U+017F), `k` and `K` (U+212A) are the letters of ASCII that Unicode's case folding gives a partner
 * outside of it. Oniguruma honors them in `(?i:…)`, which every tokenizer since GPT-4's uses for 's, 't, 're …; the
 * library folds ASCII only.
 */
const FOLDED: Readonly<Record<string, string>> = { s: "[sSſ]", k: "[kK\u212A]" };
/** Far more than any real pattern: each place of a text is compared with all of it, and the library looks at it often. */
const LONGEST = 10_000;

/** Finds all matches in a text from left to right, in time that follows the text's length. */
export interface TextPattern {
  /** The fewest UTF-16 units that a match has. */
  readonly minLength: number;
  matchAll(text: string): Iterable<Found>;
}

/** A native expression that is known to need a few steps a character, whatever the text. It matches no empty text. */
export class NativePattern implements TextPattern {
  readonly minLength = 1;
  readonly #expression: RegExp;

  constructor(expression: RegExp) {
    this.#expression = expression;
  }

  *matchAll(text: string): Generator<Found> {
    // Of its own: it keeps a place, and several texts may be read in turns.
    const expression = new RegExp(this.#expression, "gu");
    for (let match = expression.exec(text); match !== null; match = expression.exec(text)) {
      yield { start: match.index, end: expression.lastIndex };
    }
  }
}

/** A text that stands for itself; not the empty one. */
class Verbatim implements TextPattern {
  readonly minLength: number;
  readonly wanted: string;

  constructor(wanted: string) {
    this.wanted = wanted;
    this.minLength = wanted.length;
  }

  *matchAll(text: string): Generator<Found> {
    const { length } = this.wanted;
    for (let at = text.indexOf(this.wanted); at >= 0; at = text.indexOf(this.wanted, at + length)) {
      yield { start: at, end: at + length };
    }
  }
}

/** An expression from outside. */
class BoundedPattern implements TextPattern {
  readonly minLength: number;
  readonly #name: string;
  readonly #expression: LinearRegExp;

  constructor(source: string, name: string) {
    this.#name = name;
    this.#expression = new LinearRegExp(source, "u");
    this.minLength = this.#expression.minLength;
  }

  *matchAll(text: string): Generator<Found> {
    try {
      yield* this.#expression.matchAll(text);
    } catch (error) {
      if (error instanceof RegexLimitError) throw unsupported(this.#name, error);
      throw error;
    }
  }
}

/**
 * Compiles a pattern of tokenizer.json. The translation from Oniguruma's syntax and character classes to JavaScript's
 * is @huggingface/tokenizers'; case-insensitive groups of plain letters are widened first. The native engine runs those
 * patterns alone that are known to be harmless: no text may keep it busy for ever.
 *
 * @throws {PartError} when the expression cannot be expressed in JavaScript; also `matchAll`, when a text takes too long
 */
export function compilePattern(pattern: Pattern): TextPattern {
  const source = "String" in pattern ? pattern.String : pattern.Regex;
  if (source.length > LONGEST) throw new PartError(`a pattern is longer than ${LONGEST} characters`, true);
  if ("String" in pattern) {
    // Neither has a place of its own in a text: nothing, and half of a character.
    if (source !== "" && source.isWellFormed()) return new Verbatim(source);
    return new BoundedPattern(source.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"), source);
  }
  try {
    const expression = translate(source);
    if (isKnownPattern(source)) return new NativePattern(expression);
    return new BoundedPattern(expression.source, source);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RegexLimitError) throw unsupported(source, error);
    throw error;
  }
}

/** Replaces what a pattern matches, as `replaceAll` does. @throws {PartError} as {@link compilePattern} */
export function compileReplace(pattern: Pattern, content: string): (text: string) => string {
  const compiled = compilePattern(pattern);
  // "$&" and its like are special in replacements. (A function instead would be called for every blank of a text.)
  const replacement = content.replaceAll("$", "$$$$");
  if (compiled instanceof Verbatim) return (text) => text.replaceAll(compiled.wanted, replacement);
  return (text) => {
    let replaced = "";
    let done = 0;
    for (const { start, end } of compiled.matchAll(text)) {
      replaced += text.slice(done, start) + content;
      done = end;
    }
    return replaced + text.slice(done);
  };
}

function translate(regex: string): RegExp {
  const widened = regex.replace(/\(\?i:([^()[\]\\]*)\)/g, (_, body: string) => `(?i:${foldLetters(body)})`);
  const { pattern } = new SplitPreTokenizer({
    type: "Split",
    pattern: { Regex: widened },
    behavior: "Isolated",
    invert: false,
  });
  if (pattern === null) throw new SyntaxError("it has no meaning here");
  return pattern;
}

function unsupported(regex: string, { message }: Error): PartError {
  return new PartError(`the regular expression ${quote(regex)} is not supported: ${message}`, true);
}

function foldLetters(body: string): string {
  return body.replace(/[sk]/gi, (letter) => FOLDED[letter.toLowerCase()] ?? letter);
}

/**
 * Patterns of well known tokenizers, as their tokenizer.json has them, that the native engine runs in a few steps a
 * character whatever the text: no repeated part holds another, and where two that follow each other share characters
 * (o200k's capitals and small letters), nothing behind the second can fail. A run of white space that one branch gives up
 * is taken whole by the next.
 */
export const PATTERNS = {
  gpt2: String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
  /** cl100k; Llama 3 */
  llama3: String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  /** Qwen 2 to 3 */
  qwen2: String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  qwen35: String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  o200k: String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  /** Mistral's */
  tekken: String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
} as const;

export const KNOWN_PATTERNS: ReadonlySet<string> = new Set(Object.values(PATTERNS));

/** Is a regular expression of tokenizer.json one that the native engine may run? */
function isKnownPattern(regex: string): boolean {
  return KNOWN_PATTERNS.has(regex);
}
