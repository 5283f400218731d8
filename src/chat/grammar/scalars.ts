import { type Expression, grammarError, repeat, sequence, text } from "./grammar.ts";
import { CHARACTER, INTEGER, NUMBER, STRING } from "./json.ts";
import { type Bounds, integersWithin, numbersWithin } from "./numbers.ts";
import { stringMatching } from "./pattern.ts";
import { countOf, type Keywords, type SchemaReader, type Where } from "./schema.ts";

/** Characters and items that a bound may count; more would be more states than a grammar may have. */
const MOST_COUNTED = 4000;

/** The strings that a schema allows. @throws RandloraError `data` naming a keyword that would not be obeyed */
export function stringOf(reader: SchemaReader, keywords: Keywords, where: Where): Expression {
  const { pattern, format } = keywords;
  const least = countOf(keywords["minLength"], `${where}/minLength`) ?? 0;
  const most = countOf(keywords["maxLength"], `${where}/maxLength`) ?? Infinity;
  checkCounts([least, most], `${where}/maxLength`);
  if (least > most) throw grammarError(`${where}: minLength is more than maxLength`);
  const isCounted = least > 0 || most < Infinity;
  if (pattern !== undefined) {
    if (isCounted || format !== undefined) {
      throw grammarError(`${where}: pattern beside ${isCounted ? "a length" : "format"} is not supported`);
    }
    if (typeof pattern !== "string") throw grammarError(`${where}/pattern: must be a string`);
    // Each set of characters in it is asked for hundreds of them.
    reader.look(2 * pattern.length);
    return quoted(stringMatching(pattern));
  }
  if (format !== undefined) {
    const known = typeof format === "string" ? FORMATS.get(format) : undefined;
    if (known === undefined) {
      throw grammarError(`${where}: the format ${JSON.stringify(format)?.slice(0, 60)} is not supported`);
    }
    if (isCounted) throw grammarError(`${where}: format beside a length is not supported`);
    return quoted(stringMatching(known));
  }
  return isCounted ? quoted(repeat(CHARACTER, least, most)) : STRING;
}

/** Not the year 0, which Python does not know. */
const DATE = "[1-9]\\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\\d|2[0-8])";
const TIME = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:0\\d|1[0-4]):[0-5]\\d)";
const BYTE = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
/** Texts that are surely of a format. */
const FORMATS: ReadonlyMap<string, string> = new Map([
  ["date", DATE],
  ["time", TIME],
  ["date-time", `${DATE}T${TIME}`],
  ["uuid", "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"],
  ["ipv4", `${BYTE}(?:\\.${BYTE}){3}`],
  ["email", "[a-z0-9]{1,20}(?:[._+-][a-z0-9]{1,20}){0,2}@[a-z0-9]{1,20}(?:\\.[a-z0-9]{1,20}){0,2}\\.[a-z]{2,6}"],
]);

function quoted(inside: Expression): Expression {
  return sequence(text('"'), inside, text('"'));
}

/** The numbers that a schema allows; undefined: none. @throws RandloraError `data` */
export function numberOf(type: "integer" | "number", keywords: Keywords, where: Where): Expression | undefined {
  const number = (name: string): number | undefined => {
    const value = keywords[name];
    if (value === undefined || (typeof value === "number" && Number.isFinite(value))) return value;
    throw grammarError(`${where}/${name}: must be a number`);
  };
  const step = number("multipleOf");
  if (step !== undefined && step !== 1) throw grammarError(`${where}: multipleOf is not supported`);
  const bounds: Bounds = {
    least: number("minimum"),
    most: number("maximum"),
    above: number("exclusiveMinimum"),
    below: number("exclusiveMaximum"),
  };
  const isWhole = type === "integer" || step === 1;
  if (Object.values(bounds).every((bound) => bound === undefined)) return isWhole ? INTEGER : NUMBER;
  const within = isWhole ? integersWithin(bounds) : numbersWithin(bounds);
  if (within !== undefined || isWhole) return within;
  throw grammarError(`${where}: a number between bounds without a whole number between them is not supported`);
}

/** @throws RandloraError `data` for counts that would be too many states */
export function checkCounts(counts: readonly number[], where: Where): void {
  if (counts.some((count) => count !== Infinity && count > MOST_COUNTED)) {
    throw grammarError(`${where}: more than ${MOST_COUNTED} are not supported`);
  }
}
