import { assertion, category, dot, literal, range, single } from "./characters.ts";
import { codePoint, Scanner } from "./scanner.ts";
import type { Flags, Node, Pattern } from "./syntax.ts";

const NO_FLAGS: Flags = { ignoreCase: false, multiline: false, dotAll: false, verbose: false, ascii: false };
const FLAG_NAMES: Readonly<Record<string, keyof Flags>> = {
  i: "ignoreCase",
  m: "multiline",
  s: "dotAll",
  x: "verbose",
  a: "ascii",
};
/** Of groups in each other; what is made of them is up to three times as deep. */
const MAX_DEPTH = 60;

/** Parses a pattern of Python's `re` (3.11) for str. Throws {@link PatternError}, also for what cannot be translated. */
export function parsePattern(pattern: string): Pattern {
  return new Parser(pattern).parse();
}

class Parser extends Scanner {
  readonly #names = new Map<string, number>();
  readonly #closed = new Set<number>();
  #groups = 0;
  #depth = 0;

  parse(): Pattern {
    const flags = this.#globalFlags();
    const root = this.#choice(flags);
    if (this.at < this.text.length) throw this.error("unbalanced parenthesis");
    return { root, groups: this.#groups, names: this.#names };
  }

  /** `(?i)` and the like, which Python allows at the start only. */
  #globalFlags(): Flags {
    let flags = NO_FLAGS;
    for (;;) {
      if (flags.verbose) this.skipVerbose();
      const start = this.at;
      if (!this.take("(?")) return flags;
      const letters = this.flagLetters();
      if (letters === "" || !this.take(")")) {
        this.at = start;
        return flags;
      }
      flags = this.#withFlags(flags, letters, true);
    }
  }

  #choice(flags: Flags): Node {
    if (++this.#depth > MAX_DEPTH) throw this.error(`groups are nested more than ${MAX_DEPTH} deep`);
    const branches = [this.#sequence(flags)];
    while (this.take("|")) branches.push(this.#sequence(flags));
    this.#depth--;
    const [only] = branches;
    return branches.length === 1 && only !== undefined ? only : { kind: "choice", branches };
  }

  #sequence(flags: Flags): Node {
    const items: Node[] = [];
    for (;;) {
      if (flags.verbose) this.skipVerbose();
      const next = this.peek();
      if (next === undefined || next === "|" || next === ")") return { kind: "sequence", items };
      const start = this.at;
      const bounds = this.#quantifier();
      if (bounds !== undefined) {
        items.push(this.#repeat(items.pop(), bounds, start));
        continue;
      }
      const item = this.#atom(flags);
      if (item !== undefined) items.push(item);
    }
  }

  #repeat(body: Node | undefined, [min, max]: readonly [number, number], start: number): Node {
    if (body === undefined || body.kind === "assertion") throw this.error("nothing to repeat", start);
    if (body.kind === "repeat") throw this.error("multiple repeat", start);
    if (max < min) throw this.error("min repeat greater than max repeat", start);
    const mode = this.take("?") ? "lazy" : this.take("+") ? "possessive" : "greedy";
    return { kind: "repeat", body, min, max, mode };
  }

  /** `*`, `+`, `?`, `{m,n}` as bounds; a brace that is none of these is an ordinary character. */
  #quantifier(): readonly [number, number] | undefined {
    if (this.take("*")) return [0, Infinity];
    if (this.take("+")) return [1, Infinity];
    if (this.take("?")) return [0, 1];
    const start = this.at;
    if (!this.take("{") || this.peek() === "}") {
      this.at = start;
      return undefined;
    }
    const low = this.digits();
    const comma = this.take(",");
    const high = comma ? this.digits() : low;
    if (!this.take("}") || (!comma && low === "")) {
      this.at = start;
      return undefined;
    }
    return [low === "" ? 0 : Number(low), high === "" ? Infinity : Number(high)];
  }

  /** One item; undefined for a comment. */
  #atom(flags: Flags): Node | undefined {
    const start = this.at;
    const char = this.next();
    const source = assertion(char, flags);
    if (source !== undefined) return { kind: "assertion", source };
    if (char === ".") return dot(flags);
    if (char === "[") return this.#set(flags, start);
    if (char === "(") return this.#group(flags, start);
    if (char === "\\") return this.#escape(flags, start);
    return single(codePoint(char), flags);
  }

  #group(flags: Flags, start: number): Node | undefined {
    if (!this.take("?")) return this.#capture(flags, start, undefined);
    if (this.take("P")) {
      if (this.take("<")) return this.#capture(flags, start, this.name(">"));
      if (!this.take("=")) throw this.error(`unknown extension ?P${this.peek() ?? ""}`, start);
      const name = this.name(")");
      const index = this.#names.get(name);
      if (index === undefined) throw this.error(`unknown group name ${JSON.stringify(name)}`, start);
      return this.#back(index, flags, start);
    }
    if (this.take(":")) return this.#inner(flags, start);
    if (this.take("#")) {
      while (this.peek() !== ")") if (this.next() === "") throw this.error("missing ), unterminated comment", start);
      this.at++;
      return undefined;
    }
    if (this.take(">")) return { kind: "atomic", body: this.#inner(flags, start) };
    if (this.take("=")) return { kind: "look", behind: false, negated: false, body: this.#inner(flags, start) };
    if (this.take("!")) return { kind: "look", behind: false, negated: true, body: this.#inner(flags, start) };
    if (this.take("<=")) return { kind: "look", behind: true, negated: false, body: this.#inner(flags, start) };
    if (this.take("<!")) return { kind: "look", behind: true, negated: true, body: this.#inner(flags, start) };
    if (this.take("(")) throw this.error("a conditional group (?(…)…|…) is not supported", start);
    return this.#flagGroup(flags, start);
  }

  /** `(?i-s:…)`. */
  #flagGroup(flags: Flags, start: number): Node {
    const on = this.flagLetters();
    const off = this.take("-") ? this.flagLetters() : "";
    if (this.peek() === ")" && on !== "") throw this.error("global flags not at the start of the expression", start);
    if (!this.take(":") || on + off === "") throw this.error(`unknown extension ?${this.peek() ?? ""}`, start);
    if (/[aLu]/.test(off)) throw this.error("cannot turn off flags 'a', 'u' and 'L'", start);
    return this.#inner(this.#withFlags(this.#withFlags(flags, on, true), off, false), start);
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
    const index = ++this.#groups;
    if (name !== undefined) {
      if (this.#names.has(name)) throw this.error(`redefinition of group name ${JSON.stringify(name)}`, start);
      this.#names.set(name, index);
    }
    const body = this.#inner(flags, start);
    this.#closed.add(index);
    return { kind: "capture", index, body };
  }

  /** What stands between here and the closing parenthesis, which is taken. */
  #inner(flags: Flags, start: number): Node {
    const body = this.#choice(flags);
    if (!this.take(")")) throw this.error("missing ), unterminated subpattern", start);
    // A wrapper, so that a quantifier after the group does not meet the one inside it.
    return { kind: "sequence", items: [body] };
  }

  #back(index: number, flags: Flags, start: number): Node {
    if (index > this.#groups) throw this.error(`invalid group reference ${index}`, start);
    if (!this.#closed.has(index)) throw this.error("cannot refer to an open group", start);
    return { kind: "back", index, flags };
  }

  /** An escape outside a class; the backslash is taken. */
  #escape(flags: Flags, start: number): Node {
    const letter = this.peek();
    if (letter === undefined) throw this.error("bad escape (end of pattern)", start);
    const source = assertion(`\\${letter}`, flags) ?? undefined;
    if (source !== undefined) {
      this.at++;
      return { kind: "assertion", source };
    }
    const set = category(letter, flags);
    if (set !== undefined) {
      this.at++;
      return { kind: "set", negated: false, source: set, flags };
    }
    const octal = /^(?:0[0-7]{0,2}|[0-3][0-7]{2})/.exec(this.ahead(3))?.[0];
    if (octal === undefined && /[1-9]/.test(letter)) {
      const number = /^\d{1,2}/.exec(this.ahead(2))?.[0] ?? "";
      this.at += number.length;
      return this.#back(Number(number), flags, start);
    }
    return single(this.character(start), flags);
  }

  /** A class; the opening bracket is taken. */
  #set(flags: Flags, start: number): Node {
    const negated = this.take("^");
    const parts: string[] = [];
    for (let first = true; first || !this.take("]"); first = false) {
      const low = this.#setItem(flags, start);
      if (this.peek() !== "-" || this.text[this.at + 1] === "]") {
        parts.push(typeof low === "number" ? literal(low) : low);
        continue;
      }
      this.at++;
      const high = this.#setItem(flags, start);
      if (typeof low !== "number" || typeof high !== "number" || high < low) {
        throw this.error("bad character range", start);
      }
      parts.push(range(low, high));
    }
    return { kind: "set", negated, source: parts.join(""), flags };
  }

  /** A character of a class, or a category in it. */
  #setItem(flags: Flags, start: number): number | string {
    const at = this.at;
    const char = this.next();
    if (char === "") throw this.error("unterminated character set", start);
    if (char !== "\\") return codePoint(char);
    const letter = this.peek() ?? "";
    const set = category(letter, flags);
    if (set === undefined && letter !== "b") return this.character(at);
    this.at++;
    return set ?? 8;
  }
}
