import { parsePattern as parseJavaScript, type Pattern, sequenceOf } from "../parse.ts";
import type { Node } from "../syntax.ts";
import { assertion, category, CharacterReader, codePoint, type Flags, PatternError } from "./characters.ts";

const NO_FLAGS: Flags = {
  ignoreCase: false,
  multiline: false,
  dotAll: false,
  verbose: false,
  ascii: false,
  behind: false,
};
const FLAG_NAMES: Readonly<Record<string, keyof Flags>> = {
  i: "ignoreCase",
  m: "multiline",
  s: "dotAll",
  x: "verbose",
  a: "ascii",
};
const FLAG_LETTERS = /[imsxauL]*/y;
const BLANKS = /(?:[ \t\n\r\v\f]|#[^\n]*)*/y;
/** What is no reference to a group. */
const OCTAL_OUTSIDE = /0[0-7]{0,2}|[0-3][0-7]{2}/y;
const REFERENCE = /[1-9]\d?/y;
/** A parsed pattern, and which of its groups is which of Python's, by number and by name. */
export interface PythonPattern extends Pattern {
  readonly index: ReadonlyMap<number | string, number>;
}

/**
 * Parses a pattern of Python's `re` (3.11) for str.
 * @throws PatternError also for what cannot be matched in the same sense
 * @throws RegexLimitError when it is nested too deeply
 */
export function parsePattern(pattern: string): PythonPattern {
  return new Parser(pattern).parse();
}

class Parser extends CharacterReader {
  /** Where groups begin, in Python's order. */
  readonly #starts = [0];
  /** Groups that have ended, each as the engine numbers it: there an atomic group captures, too. */
  readonly #closed = new Map([[0, 0]]);
  readonly #names = new Map<string, number>();
  #captures = 0;
  readonly #references: { readonly group: number; readonly at: number }[] = [];
  /** Where stands what may take no part: branches, what is repeated from 0 times on, what must not match. */
  readonly #optional: { readonly start: number; readonly end: number }[] = [];
  /** Why nodes cannot be repeated. */
  readonly #fixed = new Map<Node, string>();

  parse(): PythonPattern {
    const root = this.choice(this.#globalFlags());
    if (this.at < this.source.length) throw this.error("unbalanced parenthesis");
    for (const { group, at } of this.#references) {
      const from = this.#starts[group] ?? 0;
      // Python fails at a reference to a group that took no part; JavaScript takes it for empty.
      if (this.#optional.some(({ start, end }) => start <= from && from < end && !(start <= at && at < end))) {
        throw new PatternError(`a reference to group ${group}, which may take no part, is not supported`, 0);
      }
    }
    const named = [...this.#names].map(([name, group]) => [name, this.#closed.get(group) ?? 0] as const);
    return { root, groups: this.#captures, index: new Map<number | string, number>([...this.#closed, ...named]) };
  }

  /** `(?i)` and the like, which Python allows at the start only. */
  #globalFlags(): Flags {
    let flags = NO_FLAGS;
    for (;;) {
      if (flags.verbose) this.match(BLANKS);
      const start = this.at;
      if (!this.take("(?")) return flags;
      const letters = this.#flagLetters();
      if (letters === "" || !this.take(")")) {
        this.at = start;
        return flags;
      }
      flags = this.#withFlags(flags, letters, true);
    }
  }

  protected override sequence(flags: Flags): Node {
    const items: Node[] = [];
    const begin = this.at;
    let last = begin;
    for (;;) {
      if (flags.verbose) this.match(BLANKS);
      const next = this.source[this.at];
      if (next === undefined || next === "|" || next === ")") break;
      const start = this.at;
      const bounds = this.bounds();
      if (bounds !== undefined) {
        const body = items.pop();
        items.push(this.#repeat(body, bounds, flags, start));
        if (bounds.min === 0) this.#optional.push({ start: last, end: start });
        continue;
      }
      const item = this.#atom(flags);
      if (item === undefined) continue;
      last = start;
      items.push(item);
    }
    if (this.source[begin - 1] === "|" || this.source[this.at] === "|") {
      this.#optional.push({ start: begin, end: this.at });
    }
    return sequenceOf(items);
  }

  #repeat(
    body: Node | undefined,
    { min, max }: { readonly min: number; readonly max: number },
    flags: Flags,
    start: number,
  ): Node {
    const why = body === undefined ? "nothing to repeat" : this.#fixed.get(body);
    if (body === undefined || why !== undefined) throw this.error(why ?? "", start);
    if (max < min) throw this.error("min repeat greater than max repeat", start);
    const lazy = this.take("?");
    const repeat: Node = { kind: "repeat", body, min, max, lazy };
    const node = !lazy && this.take("+") ? this.#atomic(repeat, flags) : repeat;
    this.#fixed.set(node, "multiple repeat");
    return node;
  }

  /** One item; undefined for a comment. */
  #atom(flags: Flags): Node | undefined {
    const start = this.at;
    const char = this.next();
    const source = assertion(char, flags);
    if (source !== undefined) return this.#assertion(source);
    if (char === ".") return this.set(flags.dotAll ? "^" : String.raw`^\n`, flags);
    if (char === "[") return this.characterClass(flags, start);
    if (char === "(") return this.#group(flags, start);
    if (char === "\\") return this.#escape(flags, start);
    return this.single(codePoint(char), flags);
  }

  #assertion(source: string): Node {
    const { root } = parseJavaScript(source, "v");
    this.#fixed.set(root, "nothing to repeat");
    return root;
  }

  #group(flags: Flags, start: number): Node | undefined {
    if (!this.take("?")) return this.#capture(flags, start, undefined);
    if (this.take("P")) {
      if (this.take("<")) return this.#capture(flags, start, this.name(">"));
      if (!this.take("=")) throw this.error(`unknown extension ?P${this.peek()}`, start);
      const name = this.name(")");
      const group = this.#names.get(name);
      if (group === undefined) throw this.error(`unknown group name ${JSON.stringify(name)}`, start);
      return this.#back(group, flags, start);
    }
    if (this.take(":")) return this.#inner(flags, start);
    if (this.take("#")) {
      const end = this.source.indexOf(")", this.at);
      if (end < 0) throw this.error("missing ), unterminated comment", start);
      this.at = end + 1;
      return undefined;
    }
    if (this.take(">")) return this.#atomic(this.#inner(flags, start), flags);
    const behind = this.take("<");
    const negated = this.take("!");
    if (negated || this.take("=")) {
      const body = this.#inner({ ...flags, behind }, start);
      if (negated) this.#optional.push({ start, end: this.at });
      return { kind: "look", behind, negated, body };
    }
    if (behind) throw this.error("unknown extension ?<", start);
    if (this.take("(")) throw this.error("a conditional group (?(…)…|…) is not supported", start);
    return this.#flagGroup(flags, start);
  }

  /** `(?i-s:…)`. */
  #flagGroup(flags: Flags, start: number): Node {
    const on = this.#flagLetters();
    const off = this.take("-") ? this.#flagLetters() : "";
    if (this.peek() === ")" && on !== "") throw this.error("global flags not at the start of the expression", start);
    if (!this.take(":") || on + off === "") throw this.error(`unknown extension ?${this.peek()}`, start);
    if (/[aLu]/.test(off)) throw this.error("cannot turn off flags 'a', 'u' and 'L'", start);
    return this.#inner(this.#withFlags(this.#withFlags(flags, on, true), off, false), start);
  }

  #flagLetters(): string {
    return this.match(FLAG_LETTERS)?.[0] ?? "";
  }

  #withFlags(flags: Flags, letters: string, value: boolean): Flags {
    const changed: { -readonly [K in keyof Flags]: Flags[K] } = { ...flags };
    for (const letter of letters) {
      if (letter === "L") throw this.error("cannot use 'L' flag with a str pattern");
      const name = FLAG_NAMES[letter];
      if (name !== undefined) changed[name] = value;
      else changed.ascii = false;
    }
    return changed;
  }

  #capture(flags: Flags, start: number, name: string | undefined): Node {
    const group = this.#starts.push(start) - 1;
    const index = ++this.#captures;
    if (name !== undefined) {
      if (this.#names.has(name)) throw this.error(`redefinition of group name ${JSON.stringify(name)}`, start);
      this.#names.set(name, group);
    }
    const body = this.#inner(flags, start);
    this.#closed.set(group, index);
    return { kind: "capture", index, body };
  }

  /** What stands between here and the closing parenthesis, which is taken. */
  #inner(flags: Flags, start: number): Node {
    const body = this.choice(flags);
    if (!this.take(")")) throw this.error("missing ), unterminated subpattern", start);
    this.#fixed.delete(body);
    return body;
  }

  /** It never gives back what it found: `(?=(…))\1`, as the engine knows it. */
  #atomic(body: Node, { behind }: Flags): Node {
    if (behind) throw new PatternError("an atomic group inside a look-behind is not supported", 0);
    const index = ++this.#captures;
    const look: Node = { kind: "look", behind, negated: false, body: { kind: "capture", index, body } };
    return { kind: "sequence", items: [look, { kind: "back", index, ignoreCase: false }] };
  }

  #back(group: number, { ignoreCase }: Flags, start: number): Node {
    if (group >= this.#starts.length) throw this.error(`invalid group reference ${group}`, start);
    const index = this.#closed.get(group);
    if (index === undefined) throw this.error("cannot refer to an open group", start);
    this.#references.push({ group, at: start });
    return { kind: "back", index, ignoreCase };
  }

  /** An escape outside a class; the backslash is taken. */
  #escape(flags: Flags, start: number): Node {
    const letter = this.source[this.at];
    if (letter === undefined) throw this.error("bad escape (end of pattern)", start);
    const source = assertion(`\\${letter}`, flags);
    const set = category(letter, flags);
    if (source !== undefined || set !== undefined) this.at++;
    if (source !== undefined) return this.#assertion(source);
    if (set !== undefined) return this.set(set, flags);
    const octal = this.match(OCTAL_OUTSIDE)?.[0];
    if (octal !== undefined) return this.single(Number.parseInt(octal, 8), flags);
    const number = this.match(REFERENCE)?.[0];
    return number === undefined ? this.single(this.character(start), flags) : this.#back(Number(number), flags, start);
  }
}
