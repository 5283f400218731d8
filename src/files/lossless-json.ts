import { type KeyOrder, scanJson } from "./json.ts";

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

/** A JSON object. {@link keysInOrder} has its keys as they were written: `Object.keys` puts integer-like ones first. */
export interface JsonObject {
  readonly [key: string]: Json;
}

// ES2026's source text access, which TypeScript's library does not declare yet.
declare global {
  interface JSON {
    parse(
      text: string,
      reviver: (this: unknown, key: string, value: unknown, context: { readonly source?: string }) => unknown,
    ): unknown;
  }
}

/** Is `value` a JSON object (no array, no number)? */
export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof JsonNumber);
}

/** Parses as `JSON.parse`, keeping every number that does not survive the way through a double. Throws `SyntaxError`. */
export function parseLossless(text: string): Json {
  let reorders = false;
  const parsed = JSON.parse(text, function (key, value, { source }) {
    reorders ||= INTEGER_LIKE.test(key) && !Array.isArray(this);
    if (typeof value !== "number" || source === undefined) return value;
    // Of integers beyond 2^53 a double holds some, and prints others as they were written: all of them are bigints.
    const isPlain = String(value) === source && (Number.isSafeInteger(value) || !Number.isInteger(value));
    return isPlain ? value : new JsonNumber(source);
  }) as Json;
  if (reorders) rememberOrder(parsed, scanJson(text).order);
  return parsed;
}

/** The text of `value`, two spaces a level (`indent` 0: on one line); numbers and the order of keys as they were written. */
export function stringifyLossless(value: Json, indent = 2): string {
  return write(value, " ".repeat(indent), "\n");
}

/** @param line what a line begins with at this depth: the line break, and the spaces after it */
function write(value: Json, gap: string, line: string): string {
  if (value instanceof JsonNumber) return value.text;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const inner = line + gap;
  const colon = gap === "" ? ":" : ": ";
  const items = isObject(value)
    ? keysInOrder(value).map((key) => `${JSON.stringify(key)}${colon}${write(value[key] ?? null, gap, inner)}`)
    : value.map((item) => write(item, gap, inner));
  const [open, close] = isObject(value) ? "{}" : "[]";
  if (items.length === 0 || gap === "") return `${open}${items.join(",")}${close}`;
  return `${open}${inner}${items.join(`,${inner}`)}${line}${close}`;
}

/** Keys that an object puts before all others. */
const INTEGER_LIKE = /^(?:0|[1-9]\d*)$/;

/** The keys of objects whose order in the text is not their own. */
const ORDERS = new WeakMap<object, readonly string[]>();

/** The keys of an object out of {@link parseLossless} or {@link toPlain}, in the order of the text; of others as they lie. */
export function keysInOrder(object: object): readonly string[] {
  return ORDERS.get(object) ?? Object.keys(object);
}

function rememberOrder(value: Json, order: KeyOrder | undefined): void {
  if (order === undefined || typeof value !== "object" || value === null) return;
  if (isObject(value)) ORDERS.set(value, [...order.keys()].map(String));
  for (const [key, inner] of order) rememberOrder((value as Readonly<Record<string, Json>>)[key] ?? null, inner);
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
  const plain = Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toPlain(item)]));
  const order = ORDERS.get(value);
  if (order !== undefined) ORDERS.set(plain, order);
  return plain;
}

/** A bigint as JSON: a plain number where that is exact. */
export function fromBigInt(value: bigint): number | JsonNumber {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : new JsonNumber(String(value));
}
