/*
 * A YAML reader tells that `012` is 12, and not that it was written `012`. For a number that is what is wanted; for a
 * text (a key, a seed of 64 bits, a version) it is another text. The source is looked at again for what was written.
 */

/** A key in block or flow style, quoted or not, with the colon and the space that make it one. Tried once a word. */
const KEY = /(?<![\w-])([\w-]+)["']?[ \t]*:(?=\s)/;

/** What may be a scalar; no more is needed, since only those that read as a certain number count. */
const SCALAR = /[^\s,[\]{}"'#]+/g;

/**
 * Finds a number or a truth value that `String` may not give back as it was written. Sure is only what stands in the
 * source just so, under that key, with no other spelling of the same value beside it.
 *
 * @param source the YAML that was read
 * @param flag the key, spelled with dashes
 * @param value what the reader made of it: a scalar or a list of some
 */
export function findRespelt(source: string, flag: string, value: unknown): number | boolean | undefined {
  const candidates = (Array.isArray(value) ? value : [value]).filter(
    (item) => typeof item === "number" || typeof item === "boolean",
  );
  if (candidates.length === 0) return undefined;
  // Keys stand at odd places, each followed by all that comes before the next.
  const parts = source.split(KEY);
  const scalars = parts.flatMap((part, at) =>
    at % 2 === 0 && parts[at - 1]?.replaceAll("_", "-") === flag ? (part.match(SCALAR) ?? []) : [],
  );
  // Whether every scalar that reads as a value is spelt as `String` would.
  const faithful = new Map<unknown, boolean>();
  for (const scalar of new Set(scalars)) {
    const read = readScalar(scalar);
    faithful.set(read, (faithful.get(read) ?? true) && scalar === String(read));
  }
  return candidates.find((item) => faithful.get(item) !== true);
}

function readScalar(text: string): unknown {
  try {
    return Bun.YAML.parse(text);
  } catch {
    return undefined; // an alias, half a string: no number
  }
}
