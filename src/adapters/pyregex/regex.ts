import { RandloraError } from "../../errors.ts";
import { oneLine, quote } from "../../safetensors/failure.ts";
import { emitPattern } from "./emit.ts";
import { parsePattern } from "./parse.ts";
import { PatternError } from "./syntax.ts";

/** What matched: the text of each group that took part. */
export interface PythonMatch {
  /** By number (0 is the whole match) or name; `undefined` when the group took no part or does not exist. */
  group(group: number | string): string | undefined;
}

/**
 * A regular expression of Python's `re` (3.11, str), translated. What JavaScript cannot express in the same sense is
 * refused, never approximated: conditional groups, `\N{…}`, references to groups that may take no part, atomic groups
 * inside a look-behind. (Look-behinds of variable width, an error in Python, are not noticed.)
 */
export class PythonRegex {
  readonly pattern: string;
  readonly #source: string;
  readonly #groups: ReadonlyMap<number, number>;
  readonly #names: ReadonlyMap<string, number>;
  readonly #full: RegExp;
  #prefix: RegExp | undefined;

  /** Throws `RandloraError` "adapter" naming the pattern, the construct and its place, and the file that it comes from. */
  constructor(pattern: string, file?: string) {
    this.pattern = pattern;
    try {
      const parsed = parsePattern(pattern);
      const { source, groups } = emitPattern(parsed);
      this.#source = source;
      this.#groups = groups;
      this.#names = parsed.names;
      // Compiled here, so that nothing can fail later.
      this.#full = new RegExp(`^(?:${source})$`, "v");
    } catch (thrown) {
      if (!(thrown instanceof PatternError || thrown instanceof SyntaxError)) throw thrown;
      const at = thrown instanceof PatternError && thrown.at > 0 ? ` at position ${thrown.at}` : "";
      const hint = "write it in Python's syntax, or list the modules by name";
      const where = file === undefined ? "" : `${oneLine(file)}: `;
      const cause = `${where}regular expression ${quote(pattern)}: ${thrown.message}${at}`;
      throw new RandloraError("adapter", cause, hint, { cause: thrown });
    }
  }

  /** As `re.fullmatch(pattern, text)`. */
  fullmatch(text: string): PythonMatch | undefined {
    return this.#result(this.#full.exec(text));
  }

  /** As `re.match(pattern, text)`: from the start, to anywhere. */
  match(text: string): PythonMatch | undefined {
    this.#prefix ??= new RegExp(`^(?:${this.#source})`, "v");
    return this.#result(this.#prefix.exec(text));
  }

  #result(found: RegExpExecArray | null): PythonMatch | undefined {
    if (found === null) return undefined;
    return {
      group: (group) => {
        const index = typeof group === "number" ? group : this.#names.get(group);
        if (index === undefined) return undefined;
        return found[index === 0 ? 0 : (this.#groups.get(index) ?? -1)];
      },
    };
  }
}
