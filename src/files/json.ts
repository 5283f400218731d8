/**
 * The keys of an object in the order of the text, with what is known of their values (`Object.keys` puts integer-like keys
 * first); of an array only the elements that hold keys, by their index.
 */
export type KeyOrder = ReadonlyMap<string | number, KeyOrder | undefined>;

/** What {@link scanJson} found besides what `JSON.parse` tells. */
export interface JsonScan {
  readonly order: KeyOrder;
  /** The keys of the outermost object in the order of the text. */
  readonly keys: readonly string[];
  /** The first key that occurs twice in one object, with its chain of keys from the outermost object. */
  readonly duplicate: readonly string[] | undefined;
  /** The first number that is not written as a plain nonnegative integer (`1.0`, `-1`, `1e3`). */
  readonly oddNumber: string | undefined;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NUMBER_PART = /[-+.0-9eE]*/y;

/**
 * A linear pass over `text`, **which `JSON.parse` must have accepted**, for what `JSON.parse` hides: duplicate keys
 * (the last one silently wins), the order of keys, and how numbers are written.
 */
export function scanJson(text: string): JsonScan {
  let order: OpenOrder = new Map();
  // One entry for each open bracket; `at` is the current key of an object, the current index of an array.
  const open: { readonly seen: OpenOrder; readonly isObject: boolean; at: string | number }[] = [];
  let duplicate: readonly string[] | undefined;
  let oddNumber: string | undefined;
  let expectKey = false;
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      const end = endOfString(text, at + 1);
      if (expectKey) {
        const raw = text.slice(at + 1, end);
        const key = raw.includes("\\") ? String(JSON.parse(`"${raw}"`)) : raw;
        const object = open.at(-1);
        if (object !== undefined) {
          object.at = key;
          if (object.seen.has(key))
            duplicate ??= open.map(({ isObject, at: current }) => (isObject ? String(current) : "[]"));
          object.seen.set(key, undefined);
        }
        expectKey = false;
      }
      at = end + 1;
    } else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) {
      NUMBER_PART.lastIndex = at;
      const number = NUMBER_PART.exec(text)?.[0] ?? "";
      if (oddNumber === undefined && !/^\d+$/.test(number)) oddNumber = number;
      at += Math.max(1, number.length);
    } else {
      const outer = open.at(-1);
      if (code === 0x7b || code === 0x5b) {
        const seen: OpenOrder = new Map();
        if (outer === undefined) order = seen;
        else outer.seen.set(outer.at, seen);
        expectKey = code === 0x7b;
        open.push({ seen, isObject: expectKey, at: 0 });
      } else if (code === 0x7d || code === 0x5d) {
        open.pop();
        expectKey = false;
      } else if (code === 0x2c) {
        expectKey = outer?.isObject === true;
        if (typeof outer?.at === "number") outer.at++;
      }
      at++;
    }
  }
  return { order, keys: [...order.keys()].filter((key) => typeof key === "string"), duplicate, oddNumber };
}

type OpenOrder = Map<string | number, KeyOrder | undefined>;

/**
 * Do arrays and objects stand in each other more than `most` deep, or are they more than `count`? For texts of any kind,
 * before `JSON.parse`; linear.
 */
export function nestsDeeper(text: string, most: number, count = Infinity): boolean {
  let depth = 0;
  let opened = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at + 1);
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > most || ++opened > count) return true;
    } else if (code === 0x7d || code === 0x5d) depth--;
  }
  return false;
}

/** The index of the quote that closes a string whose first character is at `at`. */
function endOfString(text: string, at: number): number {
  for (;;) {
    const end = text.indexOf('"', at);
    if (end < 0) return text.length;
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return end;
    at = end + 1;
  }
}

/** Is `value` a JSON object (not null, not an array)? */
export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
