import { RandloraError } from "../../../../files/errors.ts";
import { LinearRegExp } from "../linear-regexp.ts";
import { RegexLimitError } from "../syntax.ts";
import { oneLine, quote } from "../../../../files/failure.ts";
import { emitPattern } from "./emit.ts";
import { parsePattern } from "./parse.ts";
import { PatternError } from "./syntax.ts";

/** Far more than anybody writes. */
const LONGEST = 10_000;

/** What matched: the text of each group that took part. */
export interface PythonMatch {
  /** By number (0 is the whole match) or name; `undefined` when the group took no part or does not exist. */
  group(group: number | string): string | undefined;
}

/**
 * A regular expression of Python's `re` (3.11, str), translated. What JavaScript cannot express in the same sense is
 * refused, never approximated: conditional groups, `\N{…}`, references to groups that may take no part, atomic groups
 * inside a look-behind. (Look-behinds of variable width, an error in Python, are not noticed.) Patterns come with
 * adapters: however they are written, matching ends (`data/text/regex/linear-regexp.ts`).
 */
export class PythonRegex {
  readonly pattern: string;
  readonly #source: string;
  readonly #groups: ReadonlyMap<number, number>;
  readonly #names: ReadonlyMap<string, number>;
  readonly #full: LinearRegExp;
  readonly #file: string | undefined;
  #prefix: LinearRegExp | undefined;

  /** Throws `RandloraError` "adapter" naming the pattern, the construct and its place, and the file that it comes from. */
  constructor(pattern: string, file?: string) {
    this.pattern = pattern;
    this.#file = file;
    try {
      if (pattern.length > LONGEST) throw new PatternError(`it is longer than ${LONGEST} characters`, 0);
      const parsed = parsePattern(pattern);
      const { source, groups } = emitPattern(parsed);
      this.#source = source;
      this.#groups = groups;
      this.#names = parsed.names;
      // Compiled here, so that nothing can fail later.
      this.#full = new LinearRegExp(`^(?:${source})$`, "v");
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
    this.#prefix ??= new LinearRegExp(`^(?:${this.#source})`, "v");
    return this.#result(this.#prefix, text);
  }

  #result(expression: LinearRegExp, text: string): PythonMatch | undefined {
    let found: readonly (string | undefined)[] | undefined;
    try {
      found = expression.matchStart(text);
    } catch (thrown) {
      throw this.#explain(thrown);
    }
    if (found === undefined) return undefined;
    return {
      group: (group) => {
        const index = typeof group === "number" ? group : this.#names.get(group);
        if (index === undefined) return undefined;
        return found[index === 0 ? 0 : (this.#groups.get(index) ?? -1)];
      },
    };
  }

  #explain(thrown: unknown): unknown {
    const refused = [PatternError, SyntaxError, RegexLimitError].some((kind) => thrown instanceof kind);
    if (!refused || !(thrown instanceof Error)) return thrown;
    const at = thrown instanceof PatternError && thrown.at > 0 ? ` at position ${thrown.at}` : "";
    const hint = "write it in Python's syntax, or list the modules by name";
    const where = this.#file === undefined ? "" : `${oneLine(this.#file)}: `;
    const cause = `${where}regular expression ${quote(this.pattern)}: ${thrown.message}${at}`;
    return new RandloraError("adapter", cause, hint, { cause: thrown });
  }
}
