import { RandloraError } from "../../../../files/errors.ts";
import { LinearRegExp } from "../linear-regexp.ts";
import { type Node, RegexLimitError } from "../syntax.ts";
import { oneLine, quote } from "../../../../files/failure.ts";
import { PatternError } from "./characters.ts";
import { parsePattern, type PythonPattern } from "./parse.ts";

/** Far more than anybody writes. */
const LONGEST = 10_000;
const END: Node = { kind: "assertion", symbol: "$", multiline: false };

/** What matched: the text of each group that took part. */
export interface PythonMatch {
  /** By number (0 is the whole match) or name; `undefined` when the group took no part or does not exist. */
  group(group: number | string): string | undefined;
}

/**
 * A regular expression of Python's `re` (3.11, str). What JavaScript cannot express in the same sense is
 * refused, never approximated: conditional groups, `\N{…}`, references to groups that may take no part, atomic groups
 * inside a look-behind. (Look-behinds of variable width, an error in Python, are not noticed.) Patterns come with
 * adapters: however they are written, matching ends (`data/text/regex/linear-regexp.ts`).
 */
export class PythonRegex {
  readonly pattern: string;
  readonly #parsed: PythonPattern;
  readonly #full: LinearRegExp;
  readonly #file: string | undefined;
  #prefix: LinearRegExp | undefined;

  /** Throws `RandloraError` "adapter" naming the pattern, the construct and its place, and the file that it comes from. */
  constructor(pattern: string, file?: string) {
    this.pattern = pattern;
    this.#file = file;
    try {
      if (pattern.length > LONGEST) throw new PatternError(`it is longer than ${LONGEST} characters`, 0);
      this.#parsed = parsePattern(pattern);
      // Compiled here, so that nothing can fail later.
      this.#full = new LinearRegExp({ ...this.#parsed, root: { kind: "sequence", items: [this.#parsed.root, END] } });
    } catch (thrown) {
      throw this.#explain(thrown);
    }
  }

  /** As `re.fullmatch(pattern, text)`. */
  fullmatch(text: string): PythonMatch | undefined {
    return this.#result(this.#full, text);
  }

  /** As `re.match(pattern, text)`: from the start, to anywhere. */
  match(text: string): PythonMatch | undefined {
    this.#prefix ??= new LinearRegExp(this.#parsed);
    return this.#result(this.#prefix, text);
  }

  #result(expression: LinearRegExp, text: string): PythonMatch | undefined {
    try {
      const found = expression.matchStart(text);
      return found && { group: (group) => found[this.#parsed.index.get(group) ?? -1] };
    } catch (thrown) {
      throw this.#explain(thrown);
    }
  }

  #explain(thrown: unknown): unknown {
    const refused = [PatternError, RegexLimitError].some((kind) => thrown instanceof kind);
    if (!refused || !(thrown instanceof Error)) return thrown;
    const at = thrown instanceof PatternError && thrown.at > 0 ? ` at position ${thrown.at}` : "";
    const hint = "write it in Python's syntax, or list the modules by name";
    const where = this.#file === undefined ? "" : `${oneLine(this.#file)}: `;
    const cause = `${where}regular expression ${quote(this.pattern)}: ${thrown.message}${at}`;
    return new RandloraError("adapter", cause, hint, { cause: thrown });
  }
}
