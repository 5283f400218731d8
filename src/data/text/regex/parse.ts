import { type Node, RegexLimitError } from "./syntax.ts";

/** Of groups in each other; the parser and the compiler call themselves. */
const MAX_DEPTH = 200;

/** What the parser found. */
export interface Pattern {
  readonly root: Node;
  /** Groups that capture. */
  readonly groups: number;
}

/** The flags that a part of a pattern stands under; groups such as `(?i:…)` change them. */
interface Flags {
  readonly i: boolean;
  readonly m: boolean;
  readonly s: boolean;
}

const QUANTIFIER = /[*+?]|\{(?!\})(\d*)(,?)(\d*)\}/y;
const LOOK = /\?(<?)([=!])/y;
const FLAGS = /\?([ims]*)(?:-([ims]*))?:/y;
const NUMBER = /[1-9]\d*/y;
const HEX_ESCAPE =
  /u\{([0-9a-fA-F]+)\}|u([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})/y;
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, "0": 0 };

/** Reads a pattern from left to right: what JavaScript's syntax and Python's have in common. */
export abstract class PatternReader<F> {
  protected readonly source: string;
  protected at = 0;
  #depth = 0;

  constructor(source: string) {
    this.source = source;
  }

  /** What stands between two bars; `|`, `)` or nothing comes next. */
  protected abstract sequence(flags: F): Node;

  protected choice(flags: F): Node {
    if (++this.#depth > MAX_DEPTH) throw new RegexLimitError(`groups are nested more than ${MAX_DEPTH} deep`);
    const branches = [this.sequence(flags)];
    while (this.take("|")) branches.push(this.sequence(flags));
    this.#depth--;
    const [only] = branches;
    return branches.length === 1 && only !== undefined ? only : { kind: "choice", branches };
  }

  /** `*`, `+`, `?`, `{m,n}` as bounds; undefined where something else comes. */
  protected bounds(): { readonly min: number; readonly max: number } | undefined {
    const found = this.match(QUANTIFIER);
    if (found === undefined) return undefined;
    const [text, low, comma, high] = found;
    const min = low === undefined ? (text === "+" ? 1 : 0) : Number(low);
    const open = low === undefined ? text !== "?" : comma !== "" && high === "";
    return { min, max: open ? Infinity : low === undefined ? 1 : comma === "" ? min : Number(high) };
  }

  /** The next code point; "" at the end. */
  protected peek(): string {
    const code = this.source.codePointAt(this.at);
    return code === undefined ? "" : String.fromCodePoint(code);
  }

  /** Takes it. */
  protected next(): string {
    const character = this.peek();
    this.at += character.length;
    return character;
  }

  /** Takes what a sticky expression finds here. */
  protected match(expression: RegExp): RegExpExecArray | undefined {
    expression.lastIndex = this.at;
    const found = expression.exec(this.source) ?? undefined;
    if (found !== undefined) this.at += found[0].length;
    return found;
  }

  protected take(expected: string): boolean {
    if (!this.source.startsWith(expected, this.at)) return false;
    this.at += expected.length;
    return true;
  }
}

/** Items as one node. */
export function sequenceOf(items: readonly Node[]): Node {
  const [only] = items;
  return items.length === 1 && only !== undefined ? only : { kind: "sequence", items };
}

/**
 * Parses a pattern **that `new RegExp` has accepted**.
 * @param mode its flag: u or v
 * @throws RegexLimitError when it is nested too deeply, or holds sets of strings
 */
export function parsePattern(source: string, mode: "u" | "v"): Pattern {
  return new Parser(source, mode).parse();
}

class Parser extends PatternReader<Flags> {
  readonly #mode: "u" | "v";
  #groups = 0;

  constructor(source: string, mode: "u" | "v") {
    super(source);
    this.#mode = mode;
  }

  parse(): Pattern {
    const root = this.choice({ i: false, m: false, s: false });
    return { root, groups: this.#groups };
  }

  protected override sequence(flags: Flags): Node {
    const items: Node[] = [];
    for (;;) {
      const next = this.source[this.at];
      if (next === undefined || next === "|" || next === ")") break;
      items.push(this.#quantified(this.#atom(flags)));
    }
    return sequenceOf(items);
  }

  #quantified(body: Node): Node {
    const bounds = this.bounds();
    return bounds === undefined ? body : { kind: "repeat", body, ...bounds, lazy: this.take("?") };
  }

  #atom(flags: Flags): Node {
    const start = this.at;
    const character = this.next();
    switch (character) {
      case "(":
        return this.#group(flags);
      case "[":
        this.#skipClass();
        return this.#set(start, flags);
      case ".":
        return this.#set(start, flags);
      case "^":
      case "$":
        return { kind: "assertion", symbol: character, multiline: flags.m };
      case "\\":
        return this.#escape(start, flags);
      default:
        return this.#set(start, flags, character.codePointAt(0));
    }
  }

  #group(flags: Flags): Node {
    const look = this.match(LOOK);
    if (look !== undefined) {
      return { kind: "look", behind: look[1] === "<", negated: look[2] === "!", body: this.#inner(flags) };
    }
    if (this.take("?<")) {
      this.at = this.source.indexOf(">", this.at) + 1;
      return this.#capture(flags);
    }
    const changed = this.match(FLAGS);
    if (changed === undefined) return this.#capture(flags);
    const [, on = "", off = ""] = changed;
    const flag = (name: keyof Flags) => (flags[name] || on.includes(name)) && !off.includes(name);
    return this.#inner({ i: flag("i"), m: flag("m"), s: flag("s") });
  }

  #capture(flags: Flags): Node {
    const index = ++this.#groups;
    return { kind: "capture", index, body: this.#inner(flags) };
  }

  #inner(flags: Flags): Node {
    const body = this.choice(flags);
    this.at++;
    return body;
  }

  #escape(start: number, flags: Flags): Node {
    const letter = this.source[this.at] ?? "";
    const number = this.match(NUMBER);
    if (number !== undefined) return { kind: "back", index: Number(number[0]), ignoreCase: flags.i };
    if (letter === "k") throw new RegexLimitError("references by name are not supported");
    if (letter === "b" || letter === "B") {
      this.at++;
      // Under i, ſ and the Kelvin sign are word characters.
      const word: Node = this.#word(flags);
      return edge(word, letter === "b");
    }
    const hex = this.match(HEX_ESCAPE);
    if (hex !== undefined) {
      const [, long, pair, short, two] = hex;
      const digits = long ?? short ?? two;
      const literal = digits === undefined ? surrogates(pair ?? "") : Number.parseInt(digits, 16);
      return this.#set(start, flags, literal);
    }
    this.at++;
    if (letter === "p" || letter === "P") this.at = this.source.indexOf("}", this.at) + 1;
    else if (letter === "c") this.at++;
    const isClass = /[pPdDsSwWc]/.test(letter);
    return this.#set(start, flags, isClass ? undefined : (CONTROLS[letter] ?? letter.codePointAt(0)));
  }

  #word({ i }: Flags): Node {
    return { kind: "set", source: "\\w", flags: this.#mode + (i ? "i" : ""), literal: undefined };
  }

  #set(start: number, { i, s }: Flags, literal?: number): Node {
    const source = this.source.slice(start, this.at);
    // Sets of strings match more than one character.
    if (/\\q\{|\\p\{(?:RGI_|Basic_Emoji|Emoji_Keycap)/.test(source))
      throw new RegexLimitError("sets of strings are not supported");
    const flags = this.#mode + (i ? "i" : "") + (s ? "s" : "");
    return { kind: "set", source, flags, literal: i ? undefined : literal };
  }

  /** Moves behind the class whose bracket was taken; in v mode classes stand in each other. */
  #skipClass(): void {
    for (let depth = 1; depth > 0; this.at++) {
      const character = this.source[this.at];
      if (character === "\\") this.at++;
      else if (character === "[" && this.#mode === "v") depth++;
      else if (character === "]") depth--;
      else if (character === undefined) return;
    }
  }
}

/** `\b` or `\B` written out with looks at both sides. */
function edge(word: Node, wanted: boolean): Node {
  const look = (behind: boolean, negated: boolean): Node => ({ kind: "look", behind, negated, body: word });
  const both = (before: boolean, after: boolean): Node => ({
    kind: "sequence",
    items: [look(true, !before), look(false, !after)],
  });
  return {
    kind: "choice",
    branches: wanted ? [both(true, false), both(false, true)] : [both(true, true), both(false, false)],
  };
}

function surrogates(pair: string): number {
  const [high = "", low = ""] = pair.split("\\u");
  return (Number.parseInt(high, 16) - 0xd800) * 0x400 + Number.parseInt(low, 16) - 0xdc00 + 0x10000;
}
