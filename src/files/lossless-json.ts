/**
 * A number whose spelling says more than a JavaScript number can hold: integers beyond 2^53 (`projection_prng_key`),
 * `640.0`, `1e-05`. Kept as it was written, so that a file comes back as it was.
 */
export class JsonNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** The nearest double. */
  get value(): number {
    return Number(this.text);
  }

  /** The exact integer, or `undefined` when it is spelled with a fraction or an exponent. */
  get integer(): bigint | undefined {
    return /^-?\d+$/.test(this.text) ? BigInt(this.text) : undefined;
  }
}

/** A JSON value without loss. */
export type Json = null | boolean | number | string | JsonNumber | readonly Json[] | JsonObject;

/** A JSON object; keys keep their order, integer-like ones apart. */
export interface JsonObject {
  readonly [key: string]: Json;
}

// ES2026's source text access, which TypeScript's library does not declare yet.
declare global {
  interface JSON {
    parse(
      text: string,
      reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
    ): unknown;
    rawJSON(text: string): object;
  }
}

/** Is `value` a JSON object (no array, no number)? */
export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof JsonNumber);
}

/** Parses as `JSON.parse`, keeping every number that does not survive the way through a double. Throws `SyntaxError`. */
export function parseLossless(text: string): Json {
  return JSON.parse(text, (_, value, { source }) =>
    typeof value === "number" && source !== undefined && String(value) !== source ? new JsonNumber(source) : value,
  ) as Json;
}

/** The text of `value`, two spaces a level (`indent` 0: on one line); numbers as they were written. */
export function stringifyLossless(value: Json, indent = 2): string {
  return JSON.stringify(
    value,
    (_, item: unknown) => (item instanceof JsonNumber ? JSON.rawJSON(item.text) : item),
    indent,
  );
}

/** `value` with plain numbers; integers that a double cannot hold exactly become bigints. */
export function toPlain(value: Json): unknown {
  if (value instanceof JsonNumber) {
    const { integer } = value;
    return integer === undefined || Number.isSafeInteger(value.value) ? value.value : integer;
  }
  if (Array.isArray(value)) return value.map((item: Json) => toPlain(item));
  if (isObject(value)) return toPlainObject(value);
  return value;
}

/** {@link toPlain} of each key's value. */
export function toPlainObject(value: JsonObject): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toPlain(item)]));
}

/** A bigint as JSON: a plain number where that is exact. */
export function fromBigInt(value: bigint): number | JsonNumber {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : new JsonNumber(String(value));
}
