import { PatternReader } from "../parse.ts";
import type { Node } from "../syntax.ts";

/** Flags of a Python pattern that can change inside it. */
export interface Flags {
  readonly ignoreCase: boolean;
  readonly multiline: boolean;
  readonly dotAll: boolean;
  readonly verbose: boolean;
  readonly ascii: boolean;
  /** Inside a look-behind, which is matched backwards. */
  readonly behind: boolean;
}

const OCTAL = /[0-3]?[0-7]{1,2}/y;
const HEX = /x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U(?:000[0-9a-fA-F]|0010)[0-9a-fA-F]{4}/y;
const CONTROL: Readonly<Record<string, number>> = { a: 7, f: 12, n: 10, r: 13, t: 9, v: 11 };

// Python's categories for str patterns, as the inside of a JavaScript class: \w is isalnum() or "_"; \s has the
// separators U+001C to U+001F and U+0085, and not U+FEFF, unlike JavaScript's.
const UNICODE: Readonly<Record<string, string>> = {
  d: String.raw`\p{Nd}`,
  w: String.raw`\p{L}\p{N}_`,
  s: String.raw`\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`,
};
const ASCII: typeof UNICODE = { d: "0-9", w: "A-Za-z0-9_", s: String.raw`\t-\r\x20` };

/** One character, safe inside a class whatever it is. */
export function literal(codePoint: number): string {
  return `\\u{${codePoint.toString(16)}}`;
}

/** The inside of a class for `\d \D \w \W \s \S`, or `undefined` for another letter. */
export function category(letter: string, { ascii }: Flags): string | undefined {
  const table = ascii ? ASCII : UNICODE;
  const held = table[letter.toLowerCase()];
  return held === undefined || letter in table ? held : `[^${held}]`;
}

/** `^`, `$`, `\A`, `\Z`, `\b`, `\B` in JavaScript without the m flag; undefined for anything else. */
export function assertion(symbol: string, flags: Flags): string | undefined {
  const word = `[${category("w", flags)}]`;
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
      return `(?<=${word})(?!${word})|(?<!${word})(?=${word})`;
    case String.raw`\B`:
      return `(?<=${word})(?=${word})|(?<!${word})(?!${word})`;
    default:
      return undefined;
  }
}

/** The code point of a character; 0 for none. */
export function codePoint(char: string): number {
  return char.codePointAt(0) ?? 0;
}

/** What is wrong with a pattern, and where (a code point's index). */
export class PatternError extends Error {
  readonly at: number;

  constructor(cause: string, at: number) {
    super(cause);
    this.at = at;
  }
}

/** Reads characters and classes. */
export abstract class CharacterReader extends PatternReader<Flags> {
  /** The character that an escape stands for, in a class or outside; the backslash is taken. */
  protected character(start: number): number {
    const octal = this.match(OCTAL)?.[0];
    if (octal !== undefined) return Number.parseInt(octal, 8);
    const hex = this.match(HEX)?.[0];
    if (hex !== undefined) return Number.parseInt(hex.slice(1), 16);
    const letter = this.next();
    const control = CONTROL[letter];
    if (control !== undefined) return control;
    if (letter === "N") throw this.error(String.raw`a named character \N{…} is not supported`, start);
    if (/^[xuU]$/.test(letter)) throw this.error(`incomplete or bad escape \\${letter}`, start);
    if (/^[A-Za-z0-9]?$/.test(letter)) throw this.error(`bad escape \\${letter}`, start);
    return codePoint(letter);
  }

  /** A class; the opening bracket is taken. */
  protected characterClass(flags: Flags, start: number): Node {
    let inside = this.take("^") ? "^" : "";
    for (let first = true; first || !this.take("]"); first = false) {
      const low = this.#classItem(flags, start);
      inside += typeof low === "number" ? literal(low) : low;
      if (this.source[this.at] !== "-" || this.source[this.at + 1] === "]") continue;
      this.at++;
      const high = this.#classItem(flags, start);
      if (typeof low !== "number" || typeof high !== "number" || high < low) {
        throw this.error("bad character range", start);
      }
      inside += `-${literal(high)}`;
    }
    return this.set(inside, flags);
  }

  /** A character of a class, or a category in it. */
  #classItem(flags: Flags, start: number): number | string {
    const at = this.at;
    const char = this.next();
    if (char === "") throw this.error("unterminated character set", start);
    if (char !== "\\") return codePoint(char);
    const letter = this.source[this.at] ?? "";
    const set = category(letter, flags);
    if (set === undefined && letter !== "b") return this.character(at);
    this.at++;
    return set ?? 8;
  }

  protected single(code: number, flags: Flags): Node {
    return this.set(literal(code), flags, code);
  }

  /** @param inside of a JavaScript class (flag v) */
  protected set(inside: string, { ascii, ignoreCase }: Flags, code?: number): Node {
    // JavaScript folds beyond ASCII (ſ is an s, the Kelvin sign a k) and cannot be told not to.
    if (ascii && ignoreCase) throw new PatternError("the flags a and i together are not supported", 0);
    return {
      kind: "set",
      source: `[${inside}]`,
      flags: ignoreCase ? "vi" : "v",
      literal: ignoreCase ? undefined : code,
    };
  }

  /** A group's name, with the `end` after it. */
  protected name(end: string): string {
    const start = this.at;
    const found = this.source.indexOf(end, start);
    if (found < 0) throw this.error(`missing ${end}, unterminated name`, start);
    this.at = found + 1;
    const name = this.source.slice(start, found);
    if (/^[\p{XID_Start}_]\p{XID_Continue}*$/u.test(name)) return name;
    throw this.error(`bad character in group name ${JSON.stringify(name)}`, start);
  }

  /** What is wrong, and where. */
  protected error(cause: string, at = this.at): PatternError {
    const before = this.source.slice(0, at);
    return new PatternError(cause, [...before].length);
  }
}
