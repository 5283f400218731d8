import { RandloraError } from "../files/errors.ts";
import { nearest } from "../files/nearest.ts";
import { quote } from "../files/failure.ts";
import { flagName } from "../terminal/options/names.ts";
import type { Option, ValueOf } from "../terminal/options/option.ts";
import { optionOfOthers } from "../terminal/options/other-flags.ts";
import { InvalidValue } from "../terminal/options/values.ts";

export type Options = Readonly<Record<string, Option<unknown>>>;

/** Options by their names in camelCase, as far as they are given. */
export type Given<O extends Options> = { readonly [K in keyof O]?: Unchanged<ValueOf<O[K]>> };

type Unchanged<T> = T extends readonly (infer E)[] ? readonly E[] : T;

export type Settled<O extends Options> = { readonly [K in keyof O]: ValueOf<O[K]> };

/**
 * All options of a command, with the defaults of those that are not given. Values are checked as those of the command line are, by the
 * same rules; the environment and configuration files have no say.
 * @throws RandloraError `usage` for an unknown option, and for a value that makes no sense
 */
export function settledOptions<O extends Options>(options: O, given: object): Settled<O> {
  const unknown = Object.keys(given).find((key) => !Object.hasOwn(options, key));
  if (unknown !== undefined) {
    const keys = Object.keys(options);
    const theirs = optionOfOthers(flagName(unknown), keys.map(flagName));
    const near = keys.find((key) => flagName(key) === theirs) ?? nearest(unknown, keys);
    throw new RandloraError("usage", `${unknown}: no such option`, near === undefined ? "" : `did you mean ${near}?`);
  }
  const values = new Map<string, unknown>(Object.entries(given));
  const entries = Object.entries(options).map(([key, option]) => [key, valueOf(key, option, values.get(key))]);
  // Each is what its own option read.
  return Object.fromEntries(entries) as Settled<O>;
}

/** A text that must be given. @throws RandloraError `usage` */
export function needText(key: string, value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  throw new RandloraError("usage", `${key} is ${value === "" ? "empty" : "no text"}`, `give ${key}`);
}

/** @throws RandloraError `usage` for what is no list */
export function needList<T>(key: string, value: readonly T[]): readonly T[] {
  if (Array.isArray(value)) return value;
  throw new RandloraError("usage", `${key} is no list`, `give ${key}: [name, …]`);
}

function valueOf(key: string, option: Option<unknown>, value: unknown): unknown {
  if (value === undefined) return option.absent;
  const texts = textsOf(option, value);
  try {
    if (texts.includes("")) throw new InvalidValue("is empty");
    return option.read(texts);
  } catch (thrown) {
    if (!(thrown instanceof InvalidValue)) throw thrown;
    throw new RandloraError("usage", `${key}: ${quote(texts.join(","))} ${thrown.message}`, thrown.hint);
  }
}

/** A value as it would be typed. */
function textsOf({ form, repeatable }: Option<unknown>, value: unknown): string[] {
  if (form === "optional" && value === true) return [];
  if (form === "value" && typeof value === "boolean") return [value ? "yes" : "no"];
  if (Array.isArray(value)) return repeatable ? value.map(String) : [value.join(",")];
  return [typeof value === "object" && value !== null ? JSON.stringify(value) : String(value)];
}
