import { choice, type Expression, grammarError, repeat, sequence, text } from "./grammar.ts";
import { CHARACTER, DIGIT, INTEGER, NUMBER, STRING } from "./json.ts";
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

/** Digits of a number at most: any two of so many are different f64, so that none is rounded to a bound. */
const MOST_DIGITS = 15;
/** Whole numbers beyond these are not written. */
const LARGEST = 10 ** MOST_DIGITS - 1;

/** Bounds of a number; undefined where there is none. */
interface Bounds {
  readonly least?: number | undefined;
  readonly most?: number | undefined;
  readonly above?: number | undefined;
  readonly below?: number | undefined;
}

/** Whole numbers within bounds, as decimal digits. @returns undefined: there is none */
function integersWithin(bounds: Bounds): Expression | undefined {
  const { first, last } = wholeBounds(bounds);
  if (first > last) return undefined;
  const options: Expression[] = [];
  if (first < 0) options.push(sequence(text("-"), digitsBetween(Math.max(1, -last), -first)));
  if (last >= 0) options.push(digitsBetween(Math.max(0, first), last));
  return choice(...options);
}

/**
 * Numbers within bounds: whole ones, and those with a fraction whose neighboring whole numbers are within them, too.
 * @returns undefined where there is none of these
 */
function numbersWithin(bounds: Bounds): Expression | undefined {
  const { first, last } = wholeBounds(bounds);
  const options: Expression[] = [];
  const whole = integersWithin(bounds);
  if (whole !== undefined) options.push(whole);
  // From an excluded whole number on, everything behind it is within.
  const from = bounds.above === first - 1 && (bounds.least ?? -Infinity) <= bounds.above ? bounds.above : first;
  const to = bounds.below === last + 1 && (bounds.most ?? Infinity) >= bounds.below ? bounds.below : last;
  const fraction = (most: number): Expression => sequence(text("."), repeat(DIGIT, 1, most));
  const inside = (most: number): Expression =>
    sequence(text("."), repeat(DIGIT, 0, most - 1), { kind: "byte", ranges: [[0x31, 0x39]] });
  const between = (low: number, high: number, behind: typeof fraction): Expression[] =>
    byLength(low, high)
      .filter(({ length }) => length < MOST_DIGITS)
      .map(({ length, digits }) => sequence(digits, behind(MOST_DIGITS - length)));
  // Not within the numbers that begin with an excluded whole number: `0.0` is 0.
  options.push(...between(Math.max(0, first), Math.min(last, to - 1), fraction));
  if (from < first && from >= 0) options.push(...between(from, Math.min(from, to - 1), inside));
  const negative = [
    ...between(Math.max(0, -last), Math.min(-first, -from - 1), fraction),
    ...(to > last && to <= 0 ? between(-to, Math.min(-to, -from - 1), inside) : []),
  ];
  options.push(...negative.map((one) => sequence(text("-"), one)));
  return options.length === 0 ? undefined : choice(...options);
}

/** The least and the greatest whole number within bounds. */
export function wholeBounds({ least, most, above, below }: Bounds): { readonly first: number; readonly last: number } {
  const first = Math.max(
    Math.ceil(least ?? -LARGEST),
    above === undefined ? -LARGEST : Math.floor(above) + 1,
    -LARGEST,
  );
  const last = Math.min(Math.floor(most ?? LARGEST), below === undefined ? LARGEST : Math.ceil(below) - 1, LARGEST);
  return { first, last };
}

/** Digits of the whole numbers from one to another, neither negative. */
function digitsBetween(first: number, last: number): Expression {
  return choice(...byLength(first, last).map(({ digits }) => digits));
}

function byLength(first: number, last: number): { readonly length: number; readonly digits: Expression }[] {
  const options = [];
  for (let length = String(first).length; length <= String(last).length; length++) {
    const low = Math.max(first, length === 1 ? 0 : 10 ** (length - 1));
    const high = Math.min(last, 10 ** length - 1);
    if (low <= high) options.push({ length, digits: sameLength(String(low), String(high)) });
  }
  return options;
}

function sameLength(low: string, high: string): Expression {
  if (/^0*$/.test(low) && /^9*$/.test(high)) return repeat(DIGIT, low.length, low.length);
  const [first = "", lowRest] = [low.charAt(0), low.slice(1)];
  const [last = "", highRest] = [high.charAt(0), high.slice(1)];
  if (first === last) return sequence(text(first), sameLength(lowRest, highRest));
  const options = [
    sequence(text(first), sameLength(lowRest, "9".repeat(lowRest.length))),
    sequence(text(last), sameLength("0".repeat(highRest.length), highRest)),
  ];
  const [from, to] = [first.charCodeAt(0) + 1, last.charCodeAt(0) - 1];
  if (from <= to)
    options.push(sequence({ kind: "byte", ranges: [[from, to]] }, repeat(DIGIT, lowRest.length, lowRest.length)));
  return choice(...options);
}
