import { grammarError } from "./grammar.ts";
import type { Where } from "./schema.ts";

const LEAP_YEAR = "(?:[1-9]\\d(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)";
const DAYS_OF_MONTHS = [
  "(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])",
  "(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)",
  "02-(?:0[1-9]|1\\d|2[0-8])",
].join("|");
/** Not the year 0, which Python does not know. */
const DATE = `(?:[1-9]\\d{3}-(?:${DAYS_OF_MONTHS})|${LEAP_YEAR}-02-29)`;
const OFFSET = "(?:Z|[+-](?:0\\d|1[0-4]):[0-5]\\d)";
const TIME = `(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?${OFFSET}`;

const BYTE = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const IPV4 = `${BYTE}(?:\\.${BYTE}){3}`;
const HEX = "[0-9a-fA-F]";
const GROUP = `${HEX}{1,4}`;

/** The rest of a label: not two hyphens in a row, which international names have. Labels and names are shorter than DNS allows. */
const MORE = "(?:-?[A-Za-z0-9]){0,23}";
const LABEL = `[A-Za-z0-9]${MORE}`;
/** The last label begins with a letter, as an address has digits there. */
const HOST = `(?:${LABEL}\\.){0,4}[A-Za-z]${MORE}`;
const MAILBOX = "[A-Za-z0-9](?:[._+-]?[A-Za-z0-9]){0,31}";

const COUNT = "(?:0|[1-9]\\d{0,5})";
/** RFC 3339, appendix A: no unit is left out between two others. */
const CLOCK = `T(?:${COUNT}H(?:${COUNT}M(?:${COUNT}S)?)?|${COUNT}M(?:${COUNT}S)?|${COUNT}S)`;
const DAYS = `(?:${COUNT}Y(?:${COUNT}M(?:${COUNT}D)?)?|${COUNT}M(?:${COUNT}D)?|${COUNT}D)`;

const uriPart = (also: string): string => `(?:[\\w.~!$&'()*+,;=:@/${also}-]|%${HEX}{2})`;

const FORMATS: ReadonlyMap<string, string> = new Map([
  ["date", DATE],
  ["time", TIME],
  ["date-time", `${DATE}T${TIME}`],
  ["uuid", `${HEX}{8}-${HEX}{4}-[1-8]${HEX}{3}-[89abAB]${HEX}{3}-${HEX}{12}`],
  ["ipv4", IPV4],
  [
    "ipv6",
    [
      `(?:${GROUP}:){7}${GROUP}|(?:${GROUP}:){1,7}:|:(?::${GROUP}){1,7}|::`,
      ...[1, 2, 3, 4, 5, 6].map((left) => `(?:${GROUP}:){1,${left}}(?::${GROUP}){1,${7 - left}}`),
    ].join("|"),
  ],
  ["hostname", HOST],
  ["duration", `P(?:${COUNT}W|${DAYS}(?:${CLOCK})?|${CLOCK})`],
  // Those that people mean: other schemes have rules of their own.
  [
    "uri",
    `https?://(?:${HOST}|${IPV4})(?::(?:[1-5]\\d{4}|[1-9]\\d{1,3}))?(?:/${uriPart("")}{0,300})?(?:\\?${uriPart("?")}{0,200})?(?:#${uriPart("?")}{0,50})?`,
  ],
  ["email", `${MAILBOX}@(?:${LABEL}\\.){1,3}[A-Za-z]{2,20}`],
]);

/**
 * Longest texts of formats that have long ones, and how many characters are written where fewer are allowed: those are counted
 * one by one, and few enough that no label and no mailbox is too long.
 */
const LENGTHS: ReadonlyMap<unknown, readonly [longest: number, counted: number]> = new Map([
  ["hostname", [239, 63]],
  ["email", [228, 63]],
  ["uri", [1906, 500]],
]);

/** How strings of a format are written. */
export interface WrittenFormat {
  readonly pattern: string;
  /** The same of times without the offset that RFC 3339 demands, and that zod's patterns exclude. */
  readonly local?: string;
  /** The most characters of a string. */
  readonly most: number;
}

/**
 * A pattern of texts that are surely of a format.
 * @param range the fewest and the most characters that are allowed
 * @throws RandloraError `data` for one that is not known
 */
export function writtenFormat(format: unknown, [least, most]: readonly [number, number], where: Where): WrittenFormat {
  const known = typeof format === "string" ? FORMATS.get(format) : undefined;
  if (known === undefined)
    throw grammarError(`${where}: the format ${JSON.stringify(format)?.slice(0, 60)} is not supported`);
  const pattern = `^(?:${known})$`;
  const [longest, counted] = LENGTHS.get(format) ?? [0, Infinity];
  if (known.endsWith(OFFSET)) return { pattern, local: pattern.replace(OFFSET, ""), most };
  if (most >= longest || least > counted) return { pattern, most };
  // Any number of labels and characters: far fewer states, as all of it is counted.
  return { pattern: pattern.replaceAll(/\{0,(?:4|\d\d+)\}/g, "*"), most: Math.min(most, counted) };
}
