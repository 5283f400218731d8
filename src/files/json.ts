/** What {@link scanJson} found besides what `JSON.parse` tells. */
export interface JsonScan {
  /** The keys of the outermost object in the order of the text (`Object.keys` puts integer-like names first). */
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
  const keys: string[] = [];
  // One entry for each open bracket: the keys seen so far for an object, undefined for an array.
  const open: (Set<string> | undefined)[] = [];
  const chain: string[] = [];
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
        const seen = open.at(-1);
        chain[open.length - 1] = key;
        if (seen?.has(key) === true) duplicate ??= chain.slice(0, open.length);
        seen?.add(key);
        if (open.length === 1) keys.push(key);
        expectKey = false;
      }
      at = end + 1;
    } else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) {
      NUMBER_PART.lastIndex = at;
      const number = NUMBER_PART.exec(text)?.[0] ?? "";
      if (oddNumber === undefined && !/^\d+$/.test(number)) oddNumber = number;
      at += Math.max(1, number.length);
    } else {
      if (code === 0x7b) {
        open.push(new Set());
        expectKey = true;
      } else if (code === 0x5b) {
        open.push(undefined);
        chain[open.length - 1] = "[]";
      } else if (code === 0x7d || code === 0x5d) {
        open.pop();
        expectKey = false;
      } else if (code === 0x2c) {
        expectKey = open.at(-1) !== undefined;
      }
      at++;
    }
  }
  return { keys, duplicate, oddNumber };
}

/** Do arrays and objects stand in each other more than `most` deep? For texts of any kind, before `JSON.parse`; linear. */
export function nestsDeeper(text: string, most: number): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at + 1);
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > most) return true;
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
