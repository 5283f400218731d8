import { RandloraError } from "../../files/errors.ts";
import { nearest } from "../../files/nearest.ts";
import { hintOfOtherValue } from "./other-flags.ts";
import {
  BYTE_UNITS,
  COUNT_UNITS,
  inRange,
  InvalidValue,
  type Range,
  readBoolean,
  readInteger,
  readJsonObject,
  readNumber,
  readScaled,
} from "./values.ts";

/**
 * One option of a command, whatever layer its value comes from. Every layer delivers texts ("0.5", "true"), none of them
 * empty; `read` turns the texts of the winning layer into the typed value and throws a plain message when it cannot.
 */
export interface Option<T> {
  /** `flag` takes no value, `value` one, `optional` may stand without one (`--resume [RUN]`). */
  readonly form: "flag" | "value" | "optional";
  /** May be given several times; all texts of the winning layer count. Otherwise the last one does. */
  readonly repeatable: boolean;
  /** Placeholder of the value in `--help`: `PATH`, `N`, `f32|f16`. Empty for flags. */
  readonly value: string;
  readonly help: string;
  /** Heading in `--help` under which the option stands. */
  readonly topic: string;
  /** One letter, without the dash; empty when there is none. */
  readonly short: string;
  /** Another key that means the same everywhere, and is not listed; empty when there is none. */
  readonly alias: string;
  /** Texts to offer, which `read` accepts; empty when anything may be written. */
  readonly choices: readonly string[];
  /** What a value is, for those who check one that was recorded. */
  readonly kind: Kind;
  /** What the value is when no layer gives one. */
  readonly absent: T;
  /** How `--help` words that; empty when there is nothing to say. */
  readonly absentText: string;
  /** @throws {InvalidValue} saying what is wrong with the value */
  read(texts: readonly string[]): T;
}

/** Values of one kind: `flag` true or false, `choice` one of the option's choices, `numbers` a list. */
export interface Kind extends Range {
  readonly type: "flag" | "text" | "choice" | "number" | "integer" | "numbers" | "json";
  /** Of a list. */
  readonly length?: number;
}

export type ValueOf<O> = O extends Option<infer T> ? T : never;

/** The values of options where no layer gives any. */
export function absentValues<O extends Readonly<Record<string, Option<unknown>>>>(
  options: O,
): { readonly [K in keyof O]: ValueOf<O[K]> };
export function absentValues(options: Readonly<Record<string, Option<unknown>>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).map(([key, { absent }]) => [key, absent]));
}

/** What every kind of option can say about itself. */
export interface Spec<D> {
  readonly help: string;
  /** Heading in `--help`; options without one stand under "Options". */
  readonly topic?: string;
  /** One letter: `p` for `-p`. */
  readonly short?: string;
  /** Another key that means the same. */
  readonly alias?: string;
  /** Placeholder in `--help`, in capitals. */
  readonly value?: string;
  readonly default?: D;
  /** Words for `--help` where the default is worked out at run time ("the newest run"). */
  readonly defaultText?: string;
}

/** `--name`, off unless given, with an opposite `--no-name`; from the environment or a file: true, yes, on, 1 or false, no, off, 0. */
export function flag(spec: Omit<Spec<never>, "value" | "default">): Option<boolean> {
  return {
    ...common(spec, "", { type: "flag" }),
    form: "flag",
    absent: false,
    absentText: spec.defaultText ?? "",
    read: (texts) => readBoolean(last(texts)),
  };
}

/** As {@link flag}, but undefined unless it is given: `--no-name` differs from silence. */
export function toggle(spec: Omit<Spec<never>, "value" | "default">): Option<boolean | undefined> {
  return { ...flag(spec), absent: undefined };
}

/** Any text but an empty one: a path, a name, a pattern. */
export function text<D extends string | undefined = undefined>(spec: Spec<D>): Option<string | Absent<D>> {
  return single(spec, "TEXT", { type: "text" }, (value) => value);
}

/** What other programs call the number formats: read as ours. */
const OTHER_SPELLINGS: ReadonlyMap<string, string> = new Map([
  ["float32", "f32"],
  ["fp32", "f32"],
  ["float", "f32"],
  ["float16", "f16"],
  ["fp16", "f16"],
  ["half", "f16"],
  ["bfloat16", "bf16"],
  ["q8_0", "q8"],
  ["q4_0", "q4"],
]);

/** One of a few words. */
export function choice<const C extends readonly string[], D extends C[number] | undefined = undefined>(
  choices: C,
  spec: Spec<D>,
): Option<C[number] | Absent<D>> {
  const read = (value: string): C[number] => {
    if (choices.includes(value)) return value;
    const meant = OTHER_SPELLINGS.get(value.toLowerCase());
    if (meant !== undefined && choices.includes(meant)) return meant;
    const near = nearest(value, choices);
    const hint = hintOfOtherValue(value, choices) ?? (near === undefined ? "" : `did you mean ${near}?`);
    throw new InvalidValue(`is not one of ${choices.join(", ")}`, hint);
  };
  return { ...single(spec, choices.join("|"), { type: "choice" }, read), choices };
}

/** A finite number within a range: `number({ help, above: 0, max: 1, default: 0.5 })`. */
export function number<D extends number | undefined = undefined>(spec: Spec<D> & Range): Option<number | Absent<D>> {
  return single(spec, "X", { ...rangeOf(spec), type: "number" }, (value) => inRange(readNumber(value), spec));
}

/** A whole number within a range and within ±(2^53 − 1). */
export function integer<D extends number | undefined = undefined>(spec: Spec<D> & Range): Option<number | Absent<D>> {
  return single(spec, "N", { ...rangeOf(spec), type: "integer" }, (value) => inRange(readInteger(value), spec));
}

/** A count within a range, with an optional K, M or B (powers of 1000): `10M` is 10,000,000. */
export function count<D extends number | undefined = undefined>(spec: Spec<D> & Range): Option<number | Absent<D>> {
  const read = (value: string) => inRange(readScaled(value, COUNT_UNITS, "a count such as 500K or 10M"), spec);
  return single(spec, "N", { ...rangeOf(spec), type: "integer" }, read);
}

/** A size in bytes with an optional unit: `5GB` is 5·10^9, `5GiB` is 5·2^30, as the Hub's tools read them. */
export function bytes<D extends number | undefined = undefined>(spec: Spec<D>): Option<number | Absent<D>> {
  const read = (value: string) => readScaled(value, BYTE_UNITS, "a size such as 500MB or 5GB");
  return single(spec, "SIZE", { type: "integer" }, read);
}

/** Several numbers in one value: `--betas 0.9,0.95`. */
export function numbers<D extends readonly number[] | undefined = undefined>(
  spec: Spec<D> & Range & { readonly length?: number },
): Option<readonly number[] | Absent<D>> {
  const read = (value: string): readonly number[] => {
    const list = value.split(",").map((part) => inRange(readNumber(part.trim()), spec));
    if (spec.length !== undefined && list.length !== spec.length) {
      throw new InvalidValue(`must be ${spec.length} numbers with commas between them`);
    }
    return list;
  };
  return single(spec, "X,X", { ...rangeOf(spec), type: "numbers", ...(spec.length && { length: spec.length }) }, read);
}

/** A JSON object, written as JSON on the command line and as plain YAML in a configuration file. */
export function json<D extends Readonly<Record<string, unknown>> | undefined = undefined>(
  spec: Spec<D>,
): Option<Readonly<Record<string, unknown>> | Absent<D>> {
  return single(spec, "JSON", { type: "json" }, readJsonObject);
}

/** `--name` or `--name VALUE`: `true` when it stands without a value. */
export function optionalText(spec: Omit<Spec<never>, "default">): Option<string | true | undefined> {
  return { ...text(spec), form: "optional", read: (texts) => texts.at(-1) ?? true };
}

/** An option whose value is made of what another one reads. */
export function mapped<T, U>(option: Option<T | undefined>, make: (value: T) => U): Option<U | undefined> {
  const read = (texts: readonly string[]): U | undefined => {
    const value = option.read(texts);
    return value === undefined ? undefined : make(value);
  };
  return { ...option, absent: undefined, read };
}

/** Lets an option be given several times: `repeat(number({ help }))` reads `--scale 1 --scale 0.5` as [1, 0.5]. */
export function repeat<T>(option: Option<T | undefined>): Option<readonly T[]> {
  const read = (texts: readonly string[]): readonly T[] =>
    texts.flatMap((value) => {
      const item = option.read([value]);
      return item === undefined ? [] : [item];
    });
  return { ...option, repeatable: true, absent: [], read };
}

/** Several values in one: `list(count({ help }))` reads `--params 1M,2M` as [1000000, 2000000]. */
export function list<T>(option: Option<T | undefined>): Option<readonly T[] | undefined> {
  const read = (texts: readonly string[]): readonly T[] =>
    last(texts)
      .split(",")
      .flatMap((part) => {
        const item = option.read([part.trim()]);
        return item === undefined ? [] : [item];
      });
  return { ...option, absent: undefined, read };
}

/** `undefined` stays possible exactly when there is no default. */
type Absent<D> = D extends undefined ? undefined : D;

function common<D>(spec: Spec<D>, placeholder: string, kind: Kind) {
  return {
    kind,
    repeatable: false,
    value: spec.value ?? placeholder,
    help: spec.help,
    topic: spec.topic ?? "Options",
    short: spec.short ?? "",
    alias: spec.alias ?? "",
    choices: [],
  };
}

function single<T, D>(
  spec: Spec<D>,
  placeholder: string,
  kind: Kind,
  read: (value: string) => T,
): Option<T | Absent<D>> {
  return {
    ...common(spec, placeholder, kind),
    form: "value",
    // The conditional type only says that a missing default is undefined; the compiler cannot follow it.
    absent: spec.default as Absent<D>,
    absentText: spec.defaultText ?? (spec.default === undefined ? "" : formatDefault(spec.default)),
    read: (texts) => read(last(texts)),
  };
}

function formatDefault(value: unknown): string {
  if (Array.isArray(value)) return value.join(",");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function last(texts: readonly string[]): string {
  const value = texts.at(-1);
  if (value === undefined) throw new RandloraError("usage", "an option without a value was read");
  return value;
}

function rangeOf({ min, max, above }: Range): Range {
  return {
    ...(min !== undefined && { min }),
    ...(max !== undefined && { max }),
    ...(above !== undefined && { above }),
  };
}
