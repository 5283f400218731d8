import { type Expression, grammarError, repeat, sequence, text } from "./grammar.ts";
import { CHARACTER, INTEGER, NUMBER, STRING } from "./json.ts";
import { type Bounds, integersWithin, numbersWithin } from "./numbers.ts";
import { stringMatching } from "./pattern.ts";
import { countOf, type Keywords, type SchemaReader, type Where } from "./schema.ts";

/** Characters and items that a bound may count; more would be more states than a grammar may have. */
const MOST_COUNTED = 4000;

/** The strings that a schema allows; undefined: none. @throws RandloraError `data` naming a keyword that would not be obeyed */
export function stringOf(reader: SchemaReader, keywords: Keywords, where: Where): Expression | undefined {
  const { pattern, format } = keywords;
  const [least, most] = rangeOf(keywords, "Length", where);
  checkCounts([least, most], `${where}/maxLength`);
  if (least > most) return undefined;
  const isCounted = least > 0 || most < Infinity;
  if (pattern === undefined && format === undefined) {
    return isCounted ? quoted(repeat(CHARACTER, least, most)) : STRING;
  }
  const key = JSON.stringify([pattern, format, least, most]);
  const known = reader.strings.get(key);
  if (known !== undefined) return known;
  const wanted = pattern === undefined ? [] : [patternIn(pattern, where)];
  // Each set of characters in it is asked for hundreds of them.
  reader.look(1 + 2 * (wanted[0]?.length ?? 0));
  if (format !== undefined) wanted.push(formatOf(format, where));
  const inside = stringMatching(wanted, [least, most], (steps) => reader.look(Math.ceil(steps / STEPS_OF_A_PART)));
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

/** A pattern of texts that are surely of a format. @throws RandloraError `data` for one that is not known */
export function formatOf(format: unknown, where: Where): string {
  const known = typeof format === "string" ? FORMATS.get(format) : undefined;
  if (known !== undefined) return `^(?:${known})$`;
  throw grammarError(`${where}: the format ${JSON.stringify(format)?.slice(0, 60)} is not supported`);
}

/** Not the year 0, which Python does not know. */
const DATE = "[1-9]\\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\\d|2[0-8])";
const TIME = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:0\\d|1[0-4]):[0-5]\\d)";
const BYTE = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const HEX = "[0-9a-f]{1,4}";
/** Not two hyphens in a row, which international names have, nor digits at the end, as addresses have. */
const HOST = "(?:[a-z0-9]{1,20}(?:-[a-z0-9]{1,20}){0,2}\\.){0,3}[a-z]{2,20}";
const URI_PART = "(?:[\\w.~!$&'()*+,;=:@/-]|%[0-9A-F]{2})";
const COUNT = "(?:0|[1-9]\\d{0,3})";
/** RFC 3339, appendix A: no unit is left out between two others. */
const CLOCK = `T(?:${COUNT}H(?:${COUNT}M(?:${COUNT}S)?)?|${COUNT}M(?:${COUNT}S)?|${COUNT}S)`;
const DAYS = `(?:${COUNT}Y(?:${COUNT}M(?:${COUNT}D)?)?|${COUNT}M(?:${COUNT}D)?|${COUNT}D)`;
const FORMATS: ReadonlyMap<string, string> = new Map([
  ["date", DATE],
  ["time", TIME],
  ["date-time", `${DATE}T${TIME}`],
  ["uuid", "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"],
  ["ipv4", `${BYTE}(?:\\.${BYTE}){3}`],
  [
    "ipv6",
    [
      `(?:${HEX}:){7}${HEX}|(?:${HEX}:){1,7}:|:(?::${HEX}){1,7}|::`,
      ...[1, 2, 3, 4, 5, 6].map((left) => `(?:${HEX}:){1,${left}}(?::${HEX}){1,${7 - left}}`),
    ].join("|"),
  ],
  ["hostname", HOST],
  // Those that people mean: other schemes have rules of their own.
  [
    "uri",
    `https?://${HOST}(?::[1-9]\\d{1,3})?(?:/${URI_PART}{0,300})?(?:\\?${URI_PART}{0,200})?(?:#${URI_PART}{0,50})?`,
  ],
  ["duration", `P(?:${COUNT}W|${DAYS}(?:${CLOCK})?|${CLOCK})`],
  ["email", "[a-z0-9]{1,20}(?:[._+-][a-z0-9]{1,20}){0,2}@[a-z0-9]{1,20}(?:\\.[a-z0-9]{1,20}){0,2}\\.[a-z]{2,6}"],
]);

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
