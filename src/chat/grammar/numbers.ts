import { choice, type Expression, repeat, sequence, text } from "./grammar.ts";
import { DIGIT } from "./json.ts";

/** Digits of a number at most: any two of so many are different f64, so that none is rounded to a bound. */
const MOST_DIGITS = 15;
/** Whole numbers beyond these are not written. */
const LARGEST = 10 ** MOST_DIGITS - 1;

/** Bounds of a number; undefined where there is none. */
export interface Bounds {
  readonly least?: number | undefined;
  readonly most?: number | undefined;
  readonly above?: number | undefined;
  readonly below?: number | undefined;
}

/** Whole numbers within bounds, as decimal digits. @returns undefined: there is none */
export function integersWithin(bounds: Bounds): Expression | undefined {
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
export function numbersWithin(bounds: Bounds): Expression | undefined {
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
