import { PatternError } from "./syntax.ts";

const CONTROL: Readonly<Record<string, number>> = { a: 7, f: 12, n: 10, r: 13, t: 9, v: 11 };
const HEX_DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/** The code point of a character; 0 for none. */
export function codePoint(char: string): number {
  return char.codePointAt(0) ?? 0;
}

/** Reads a pattern code point by code point; what it reads is taken. */
export class Scanner {
  readonly text: readonly string[];
  at = 0;

  constructor(pattern: string) {
    this.text = [...pattern];
  }

  /** Letters of flags; "" when there are none. */
  flagLetters(): string {
    const start = this.at;
    while (/^[imsxauL]$/.test(this.peek() ?? "")) this.at++;
    return this.text.slice(start, this.at).join("");
  }

  digits(): string {
    const start = this.at;
    while (/^[0-9]$/.test(this.peek() ?? "")) this.at++;
    return this.text.slice(start, this.at).join("");
  }

  /** White space and comments of a verbose pattern. */
  skipVerbose(): void {
    for (;;) {
      const char = this.peek() ?? "";
      if (char === "#") while (this.at < this.text.length && this.peek() !== "\n") this.at++;
      else if (/^[ \t\n\r\v\f]$/.test(char)) this.at++;
      else return;
    }
  }

  /** The next `count` characters, or what is left; nothing is taken. */
  ahead(count: number): string {
    return this.text.slice(this.at, this.at + count).join("");
  }

  /** The next character, not taken. */
  peek(): string | undefined {
    return this.text[this.at];
  }

  /** The next character, or "" at the end. */
  next(): string {
    const char = this.text[this.at] ?? "";
    this.at++;
    return char;
  }

  /** Takes `expected` if it comes next. */
  take(expected: string): boolean {
    if (this.ahead(expected.length) !== expected) return false;
    this.at += expected.length;
    return true;
  }

  /** What is wrong, and where. */
  error(cause: string, at = this.at): PatternError {
    return new PatternError(cause, at);
  }

  /** The character that an escape stands for, in a class or outside; the backslash is taken. */
  character(start: number): number {
    const octal = /^[0-3]?[0-7]{1,2}/.exec(this.ahead(3))?.[0];
    if (octal !== undefined) {
      this.at += octal.length;
      return Number.parseInt(octal, 8);
    }
    const letter = this.next();
    const digits = HEX_DIGITS[letter];
    if (digits !== undefined) {
      const hex = this.ahead(digits);
      const value = Number.parseInt(hex, 16);
      if (!new RegExp(`^[0-9a-fA-F]{${digits}}$`).test(hex) || value > 0x10ffff) {
        throw this.error(`incomplete or bad escape \\${letter}`, start);
      }
      this.at += digits;
      return value;
    }
    const control = CONTROL[letter];
    if (control !== undefined) return control;
    if (letter === "N") throw this.error(String.raw`a named character \N{…} is not supported`, start);
    if (letter === "" || /[A-Za-z0-9]/.test(letter)) throw this.error(`bad escape \\${letter}`, start);
    return codePoint(letter);
  }

  /** A group's name, with the `end` after it. */
  name(end: string): string {
    const start = this.at;
    while (this.peek() !== end) if (this.next() === "") throw this.error(`missing ${end}, unterminated name`, start);
    const name = this.text.slice(start, this.at).join("");
    this.at++;
    if (!/^[\p{XID_Start}_]\p{XID_Continue}*$/u.test(name)) {
      throw this.error(`bad character in group name ${JSON.stringify(name)}`, start);
    }
    return name;
  }
}
