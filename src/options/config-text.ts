/*
 * A value of a configuration file as the texts that an option reads. Aliases make a small file a large value, or one that
 * holds itself: what it comes to is counted before it is written out.
 */

const MAX_CHARACTERS = 2 ** 20;
const MAX_DEPTH = 32;

/** The texts of a value, one for each item of a list; undefined where they would be too long. */
export function toTexts(value: unknown): readonly string[] | undefined {
  if (size(value, MAX_CHARACTERS, 0) > MAX_CHARACTERS) return undefined;
  return Array.isArray(value) ? value.map(toText) : [toText(value)];
}

/** Is this value a mapping of keys to values? */
export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function toText(value: unknown): string {
  return isMapping(value) ? JSON.stringify(value) : String(value);
}

/** Characters that a value comes to, at least; counted no further than `most`. */
function size(value: unknown, most: number, depth: number): number {
  if (typeof value !== "object" || value === null) return String(value).length + 1;
  if (depth > MAX_DEPTH) return Infinity;
  let sum = 2;
  for (const [key, item] of Object.entries(value)) {
    sum += key.length + size(item, most - sum, depth + 1);
    if (sum > most) return Infinity;
  }
  return sum;
}
