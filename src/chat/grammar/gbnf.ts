import {
  characters,
  choice,
  type Expression,
  type Grammar,
  grammarError,
  repeat,
  ROOT,
  rule,
  sequence,
  text,
} from "./grammar.ts";

/** Of a grammar, in UTF-16 units. */
const LONGEST = 65_536;
/** Groups in each other. */
const MOST_DEPTH = 100;
/** Repetitions that `{m,n}` may ask for. */
const MOST_TIMES = 4000;

/**
 * Reads a grammar in llama.cpp's notation (GBNF): `root ::= "a" [0-9]+ (b | c)? {2,3} # comment`.
 * @throws RandloraError `data` with the line
 */
export function readGbnf(source: string): Grammar {
  if (source.length > LONGEST) throw grammarError(`the grammar is longer than ${LONGEST} characters`);
  const rules = new Reader(source).rules();
  if (!rules.has(ROOT)) throw grammarError("the grammar has no rule root");
  return rules;
}

const NAME = /[a-zA-Z0-9-_]+/y;
const ASSIGNED = /\s*::=/y;
/** Blanks and comments; line ends as well. */
const BLANK = /(?:[ \t]|#[^\n\r]*)+/y;
const BLANK_LINES = /(?:\s|#[^\n\r]*)+/y;
const TIMES = /\{\s*(\d+)\s*(,?)\s*(\d*)\s*\}/y;
const ESCAPE = /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(["[\]\\nrt^-]))/y;
const CONTROLS: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };

class Reader {
  readonly #source: string;
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  rules(): Grammar {
    const rules = new Map<string, Expression>();
    for (;;) {
      this.#match(BLANK_LINES);
      if (this.#at === this.#source.length) return rules;
      const name = this.#match(NAME)?.[0];
      if (name === undefined || this.#match(ASSIGNED) === undefined) return this.#refuse("a rule begins with NAME ::=");
      this.#match(BLANK_LINES);
      rules.set(name, this.#choice(0));
    }
  }

  #choice(depth: number): Expression {
    if (depth > MOST_DEPTH) return this.#refuse(`groups are nested more than ${MOST_DEPTH} deep`);
    const options = [this.#sequence(depth)];
    while (this.#takeAhead("|")) options.push(this.#sequence(depth));
    return choice(...options);
  }

  #sequence(depth: number): Expression {
    const parts: Expression[] = [];
    for (;;) {
      this.#match(depth > 0 ? BLANK_LINES : BLANK);
      const item = this.#item(depth);
      if (item === undefined) return sequence(...parts);
      parts.push(this.#repeated(item));
    }
  }

  #item(depth: number): Expression | undefined {
    if (this.#take('"')) return this.#literal();
    if (this.#take("[")) return this.#set();
    if (this.#take(".")) return characters([[0, 0x10ffff]]);
    if (this.#take("(")) {
      const inside = this.#choice(depth + 1);
      if (!this.#takeAhead(")")) return this.#refuse("a group has no end");
      return inside;
    }
    if (this.#take("<") || this.#take("!<"))
      return this.#refuse("tokens (<…>) are not supported: write what they say as a text");
    const start = this.#at;
    const name = this.#match(NAME)?.[0];
    if (name === undefined) return undefined;
    // The next rule begins here.
    if (this.#match(ASSIGNED) === undefined) return rule(name);
    this.#at = start;
    return undefined;
  }

  #repeated(item: Expression): Expression {
    this.#match(BLANK);
    if (this.#take("*")) return this.#repeated(repeat(item, 0));
    if (this.#take("+")) return this.#repeated(repeat(item, 1));
    if (this.#take("?")) return this.#repeated(repeat(item, 0, 1));
    const times = this.#match(TIMES);
    if (times === undefined) return item;
    const [, low = "0", comma, high = ""] = times;
    const min = Number(low);
    const max = high !== "" ? Number(high) : comma === "" ? min : Infinity;
    if (min > MOST_TIMES || (max !== Infinity && max > MOST_TIMES) || max < min) {
      return this.#refuse(`repetitions go up to ${MOST_TIMES}`);
    }
    return repeat(item, min, max);
  }

  #literal(): Expression {
    let value = "";
    while (!this.#take('"')) value += this.#character();
    return text(value);
  }

  #set(): Expression {
    const isNegated = this.#take("^");
    const ranges: [number, number][] = [];
    while (!this.#take("]")) {
      const first = this.#character().codePointAt(0) ?? 0;
      const isRange = this.#source.startsWith("-", this.#at) && this.#source[this.#at + 1] !== "]" && this.#take("-");
      ranges.push([first, isRange ? (this.#character().codePointAt(0) ?? 0) : first]);
    }
    const kept = isNegated ? complement(ranges) : ranges;
    if (kept.every(([from, to]) => from > to)) return this.#refuse("a set of characters is empty");
    return characters(kept.filter(([from, to]) => from <= to));
  }

  #character(): string {
    const escape = this.#match(ESCAPE);
    if (escape !== undefined) {
      const [, two, four, eight, letter] = escape;
      const code = Number.parseInt(two ?? four ?? eight ?? "0", 16);
      if (code > 0x10ffff) return this.#refuse("an escape is no character");
      return letter === undefined ? String.fromCodePoint(code) : (CONTROLS[letter] ?? letter);
    }
    const code = this.#source.codePointAt(this.#at);
    if (code === undefined || code === 0x5c) return this.#refuse("a text or a set has no end, or an unknown escape");
    const character = String.fromCodePoint(code);
    this.#at += character.length;
    return character;
  }

  #takeAhead(expected: string): boolean {
    const before = this.#at;
    this.#match(BLANK_LINES);
    if (this.#take(expected)) return true;
    this.#at = before;
    return false;
  }

  #take(expected: string): boolean {
    if (!this.#source.startsWith(expected, this.#at)) return false;
    this.#at += expected.length;
    return true;
  }

  #match(expression: RegExp): RegExpExecArray | undefined {
    expression.lastIndex = this.#at;
    const found = expression.exec(this.#source) ?? undefined;
    if (found !== undefined) this.#at += found[0].length;
    return found;
  }

  #refuse(reason: string): never {
    const line = this.#source.slice(0, this.#at).split("\n").length;
    throw grammarError(`the grammar, line ${line}: ${reason}`);
  }
}

/** All characters that are not in some ranges. */
function complement(ranges: readonly (readonly [number, number])[]): [number, number][] {
  const kept: [number, number][] = [];
  let from = 0;
  for (const [first, last] of ranges.toSorted(([left], [right]) => left - right)) {
    if (first > from) kept.push([from, first - 1]);
    from = Math.max(from, last + 1);
  }
  if (from <= 0x10ffff) kept.push([from, 0x10ffff]);
  return kept;
}
