import { type Expression, grammarError, repeat, sequence, text } from "./grammar.ts";
import { CHARACTER, INTEGER, NUMBER, STRING } from "./json.ts";
import { type Bounds, integersWithin, numbersWithin } from "./numbers.ts";
import { patternName, stringMatching } from "./pattern.ts";
import { writtenFormat } from "./string-formats.ts";
import { countOf, type Keywords, type SchemaReader, type Where } from "./schema.ts";

/** Characters and items that a bound may count; more would be more states than a grammar may have. */
const MOST_COUNTED = 4000;

/** The strings that a schema allows; undefined: none. @throws RandloraError `data` naming a keyword that would not be obeyed */
export function stringOf(reader: SchemaReader, keywords: Keywords, where: Where): Expression | undefined {
  const { pattern, format } = keywords;
  const [least, allowed] = rangeOf(keywords, "Length", where);
  checkCounts([least, allowed], `${where}/maxLength`);
  if (least > allowed) return undefined;
  if (pattern === undefined && format === undefined) {
    return least > 0 || allowed < Infinity ? quoted(repeat(CHARACTER, least, allowed)) : STRING;
  }
  const written = format === undefined ? undefined : writtenFormat(format, [least, allowed], where);
  const most = written?.most ?? allowed;
  const key = JSON.stringify([pattern, format, least, most]);
  const known = reader.strings.get(key);
  if (known !== undefined) return known;
  const own = pattern === undefined ? undefined : patternIn(pattern, where);
  // Each set of characters in it is asked for hundreds of them.
  reader.look(1 + 2 * (own?.length ?? 0));
  const matching = (...patterns: readonly (string | undefined)[]): Expression | undefined =>
    stringMatching(
      patterns.filter((one) => one !== undefined),
      [least, most],
      {
        named: `${where}: ${own === undefined ? `format ${format}` : patternName(own)}`,
        work: (steps) => reader.look(Math.ceil(steps / STEPS_OF_A_PART)),
      },
    );
  const local = own === undefined ? undefined : written?.local;
  const inside = matching(own, written?.pattern) ?? (local === undefined ? undefined : matching(own, local));
  // A rule of its own: it is there once however often it is asked for.
  const made = inside && repeat(quoted(inside), 1, 1);
  if (made !== undefined) reader.strings.set(key, made);
  return made;
}

/** Of a pattern with a length or a format, as much work as a schema's part is. */
const STEPS_OF_A_PART = 16;

/** The least and the most of `minLength` and `maxLength`, or of items. @throws RandloraError `data` */
export function rangeOf(keywords: Keywords, of: "Length" | "Items", where: Where): [least: number, most: number] {
  const [least, most] = [`min${of}`, `max${of}`].map((name) => countOf(keywords[name], `${where}/${name}`));
  return [least ?? 0, most ?? Infinity];
}

/** @throws RandloraError `data` for what is no text */
export function patternIn(pattern: unknown, where: Where): string {
  if (typeof pattern !== "string") throw grammarError(`${where}/pattern: must be a string`);
  return pattern;
}

function quoted(inside: Expression): Expression {
  return sequence(text('"'), inside, text('"'));
}

/** The numbers that a schema allows; undefined: none. @throws RandloraError `data` */
export function numberOf(type: "integer" | "number", keywords: Keywords, where: Where): Expression | undefined {
  const { step, ...bounds } = boundsOf(keywords, where);
  const { least = -Infinity, most = Infinity, above = -Infinity, below = Infinity } = bounds;
  if (least > most || above >= below || least >= below || above >= most) return undefined;
  if (step !== undefined && step !== 1) throw grammarError(`${where}: multipleOf is not supported`);
  const isWhole = type === "integer" || step === 1;
  if (Object.values(bounds).every((bound) => bound === undefined)) return isWhole ? INTEGER : NUMBER;
  const within = isWhole ? integersWithin(bounds) : numbersWithin(bounds);
  if (within !== undefined || isWhole) return within;
  throw grammarError(`${where}: a number between bounds without a whole number between them is not supported`);
}

/** @throws RandloraError `data` for what is no number */
export function boundsOf(keywords: Keywords, where: Where): Bounds & { readonly step: number | undefined } {
  const number = (name: string): number | undefined => {
    const value = keywords[name];
    if (value === undefined || (typeof value === "number" && Number.isFinite(value))) return value;
    throw grammarError(`${where}/${name}: must be a number`);
  };
  return {
    least: number("minimum"),
    most: number("maximum"),
    above: number("exclusiveMinimum"),
    below: number("exclusiveMaximum"),
    step: number("multipleOf"),
  };
}

/** @throws RandloraError `data` for counts that would be too many states */
export function checkCounts(counts: readonly number[], where: Where): void {
  if (counts.some((count) => count !== Infinity && count > MOST_COUNTED)) {
    throw grammarError(`${where}: more than ${MOST_COUNTED} are not supported`);
  }
}
