import { Matcher } from "./matcher.ts";
import { parsePattern, type Pattern } from "./parse.ts";
import { compile, type Program } from "./program.ts";
import { unitsAt } from "./set.ts";
import { minLength, RegexLimitError } from "./syntax.ts";

/** A part of a text that matches, in UTF-16 units; `end` not included. */
export interface Found {
  readonly start: number;
  readonly end: number;
}

/** Longer than any pattern that somebody wrote. */
const MAX_SOURCE = 200_000;

/**
 * A JavaScript regular expression whose work is bounded, for patterns that come from outside: the native engine can be
 * kept busy for ever, and not be interrupted. The language and what is found are the native engine's (flags u and v); it
 * decides which characters a set holds, and the tests compare the two. Not supported: references by name, sets of strings. Where
 * references back make work that cannot be remembered, a limit of steps may refuse what the native engine finds.
 */
export class LinearRegExp {
  /** The fewest UTF-16 units that a match has. */
  readonly minLength: number;
  readonly #program: Program;

  /**
   * @param source of JavaScript's syntax, or parsed
   * @throws SyntaxError for what is no expression
   * @throws RegexLimitError for one that is too large, or needs what is not supported
   */
  constructor(source: string | Pattern, mode: "u" | "v" = "v") {
    const { root, groups } = typeof source === "string" ? parsed(source, mode) : source;
    this.minLength = minLength(root);
    this.#program = compile(root, groups);
  }

  /**
   * Matches at the beginning of a text.
   * @returns the text of each group, 0 the whole match; undefined where there is none
   * @throws RegexLimitError when the text takes too many steps
   */
  matchStart(text: string): readonly (string | undefined)[] | undefined {
    const matcher = new Matcher(this.#program, text);
    const end = matcher.matchAt(0);
    if (end < 0) return undefined;
    const groups: (string | undefined)[] = [text.slice(0, end)];
    for (let index = 1; index <= this.#program.groups; index++) {
      const [from, to] = matcher.group(index);
      groups.push(from < 0 || to < 0 ? undefined : text.slice(from, to));
    }
    return groups;
  }

  /**
   * All matches from left to right, as `text.matchAll` finds them with the flag g; searched as they are asked for.
   * @throws RegexLimitError when the text takes too many steps
   */
  *matchAll(text: string): Generator<Found> {
    const matcher = new Matcher(this.#program, text);
    for (let from = 0; matcher.find(from);) {
      const { start, end } = matcher;
      yield { start, end };
      from = end > start ? end : end + unitsAt(text, end);
    }
  }
}

function parsed(source: string, mode: "u" | "v"): Pattern {
  if (source.length > MAX_SOURCE) throw new RegexLimitError(`it is longer than ${MAX_SOURCE} characters`);
  void new RegExp(source, mode);
  return parsePattern(source, mode);
}
