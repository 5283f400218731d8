import type { CharacterSet, Flags } from "./syntax.ts";

// Python's categories for str patterns, as the inside of a JavaScript class: \w is isalnum() or "_"; \s has the
// separators U+001C to U+001F and U+0085, and not U+FEFF, unlike JavaScript's.
const UNICODE = {
  d: String.raw`\p{Nd}`,
  w: String.raw`\p{L}\p{N}_`,
  s: String.raw`\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`,
};
const ASCII = { d: "0-9", w: "A-Za-z0-9_", s: String.raw`\t-\r\x20` };

/** One character, safe inside and outside a class whatever it is. */
export function literal(codePoint: number): string {
  return `\\u{${codePoint.toString(16)}}`;
}

/** A range of characters for the inside of a class. */
export function range(first: number, last: number): string {
  return `${literal(first)}-${literal(last)}`;
}

/** The inside of a class for `\d \D \w \W \s \S`, or `undefined` for another letter. */
export function category(letter: string, flags: Flags): string | undefined {
  const table = flags.ascii ? ASCII : UNICODE;
  switch (letter) {
    case "d":
    case "w":
    case "s":
      return table[letter];
    case "D":
      return `[^${table.d}]`;
    case "W":
      return `[^${table.w}]`;
    case "S":
      return `[^${table.s}]`;
    default:
      return undefined;
  }
}

/** A set of one character. */
export function single(codePoint: number, flags: Flags): CharacterSet {
  return { kind: "set", negated: false, source: literal(codePoint), flags };
}

/** `.`: all but the newline, which JavaScript's dot sees differently. */
export function dot(flags: Flags): CharacterSet {
  return { kind: "set", negated: true, source: flags.dotAll ? "" : String.raw`\n`, flags };
}

/** `^`, `$`, `\A`, `\Z`, `\b`, `\B` in JavaScript without the m flag; undefined for anything else. */
export function assertion(symbol: string, flags: Flags): string | undefined {
  const word = `[${(flags.ascii ? ASCII : UNICODE).w}]`;
  switch (symbol) {
    case "^":
      return flags.multiline ? String.raw`(?<![^\n])` : "^";
    case "$":
      return flags.multiline ? String.raw`(?![^\n])` : String.raw`(?=\n?$)`;
    case String.raw`\A`:
      return "^";
    case String.raw`\Z`:
    case String.raw`\z`:
      return "$";
    case String.raw`\b`:
      return `(?:(?<=${word})(?!${word})|(?<!${word})(?=${word}))`;
    case String.raw`\B`:
      return `(?:(?<=${word})(?=${word})|(?<!${word})(?!${word}))`;
    default:
      return undefined;
  }
}
