import { RandloraError } from "../../files/errors.ts";
import { nearest } from "../../files/nearest.ts";

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
  /** What the value is when no layer gives one. */
  readonly absent: T;
  /** How `--help` words that; empty when there is nothing to say. */
  readonly absentText: string;
  /** @throws {InvalidValue} saying what is wrong with the value */
  read(texts: readonly string[]): T;
}

export type ValueOf<O> = O extends Option<infer T> ? T : never;

/** The values of options where no layer gives any. */
export function absentValues<O extends Readonly<Record<string, Option<unknown>>>>(
  options: O,
): { readonly [K in keyof O]: ValueOf<O[K]> };
export function absentValues(options: Readonly<Record<string, Option<unknown>>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).map(([key, { absent }]) => [key, absent]));
}

/** What `read` throws; the layer that knows where the text came from turns it into a usage error. */
export class InvalidValue extends Error {
  /** What was probably meant; empty when that cannot be told. */
  readonly hint: string;

  constructor(message: string, hint = "") {
    super(message);
    this.hint = hint;
  }
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

interface Range {
  readonly min?: number;
  readonly max?: number;
  /** The value must lie strictly above this. */
  readonly above?: number;
}

/** `--name`, off unless given, with an opposite `--no-name`; from the environment or a file: true, yes, on, 1 or false, no, off, 0. */
export function flag(spec: Omit<Spec<never>, "value" | "default">): Option<boolean> {
  return {
    ...common(spec, ""),
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
  return single(spec, "TEXT", (value) => value);
}

/** What other programs call the number formats. */
const OTHER_SPELLINGS: ReadonlyMap<string, string> = new Map([
  ["float32", "f32"],
  ["fp32", "f32"],
  ["float", "f32"],
  ["float16", "f16"],
  ["fp16", "f16"],
  ["half", "f16"],
  ["bfloat16", "bf16"],
]);

/** One of a few words. */
export function choice<const C extends readonly string[], D extends C[number] | undefined = undefined>(
  choices: C,
  spec: Spec<D>,
): Option<C[number] | Absent<D>> {
  const read = (value: string): C[number] => {
    if (choices.includes(value)) return value;
    const meant = [OTHER_SPELLINGS.get(value.toLowerCase()), nearest(value, choices)].find(
      (word) => word !== undefined && choices.includes(word),
    );
    throw new InvalidValue(`is not one of ${choices.join(", ")}`, meant === undefined ? "" : `did you mean ${meant}?`);
  };
  return { ...single(spec, choices.join("|"), read), choices };
}

/** A finite number within a range: `number({ help, above: 0, max: 1, default: 0.5 })`. */
export function number<D extends number | undefined = undefined>(spec: Spec<D> & Range): Option<number | Absent<D>> {
  return single(spec, "X", (value) => inRange(readNumber(value), spec));
}

/** A whole number within a range and within ±(2^53 − 1). */
export function integer<D extends number | undefined = undefined>(spec: Spec<D> & Range): Option<number | Absent<D>> {
  return single(spec, "N", (value) => inRange(readInteger(value), spec));
}

/** A count within a range, with an optional K, M or B (powers of 1000): `10M` is 10,000,000. */
export function count<D extends number | undefined = undefined>(spec: Spec<D> & Range): Option<number | Absent<D>> {
  return single(spec, "N", (value) => inRange(readScaled(value, COUNT_UNITS, "a count such as 500K or 10M"), spec));
}

/** A size in bytes with an optional unit: `5GB` is 5·10^9, `5GiB` is 5·2^30, as the Hub's tools read them. */
export function bytes<D extends number | undefined = undefined>(spec: Spec<D>): Option<number | Absent<D>> {
  return single(spec, "SIZE", (value) => readScaled(value, BYTE_UNITS, "a size such as 500MB or 5GB"));
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
  return single(spec, "X,X", read);
}

/** A JSON object, written as JSON on the command line and as plain YAML in a configuration file. */
export function json<D extends Readonly<Record<string, unknown>> | undefined = undefined>(
  spec: Spec<D>,
): Option<Readonly<Record<string, unknown>> | Absent<D>> {
  return single(spec, "JSON", readJsonObject);
}

/** `--name` or `--name VALUE`: `true` when it stands without a value. */
export function optionalText(spec: Omit<Spec<never>, "default">): Option<string | true | undefined> {
  return { ...text(spec), form: "optional", read: (texts) => texts.at(-1) ?? true };
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

const COUNT_UNITS = new Map([
  ["", 1],
  ["K", 1e3],
  ["M", 1e6],
  ["B", 1e9],
  ["G", 1e9],
]);

const BYTE_UNITS = new Map([
  ["", 1],
  ["B", 1],
  ["KB", 1e3],
  ["MB", 1e6],
  ["GB", 1e9],
  ["TB", 1e12],
  ["KIB", 2 ** 10],
  ["MIB", 2 ** 20],
  ["GIB", 2 ** 30],
  ["TIB", 2 ** 40],
]);

/** `undefined` stays possible exactly when there is no default. */
type Absent<D> = D extends undefined ? undefined : D;

function common<D>(spec: Spec<D>, placeholder: string) {
  return {
    repeatable: false,
    value: spec.value ?? placeholder,
    help: spec.help,
    topic: spec.topic ?? "Options",
    short: spec.short ?? "",
    alias: spec.alias ?? "",
    choices: [],
  };
}

function single<T, D>(spec: Spec<D>, placeholder: string, read: (value: string) => T): Option<T | Absent<D>> {
  return {
    ...common(spec, placeholder),
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

function readBoolean(value: string): boolean {
  if (/^(true|yes|on|1)$/i.test(value)) return true;
  if (/^(false|no|off|0)$/i.test(value)) return false;
  throw new InvalidValue("is neither true nor false");
}

function readNumber(value: string): number {
  const parsed = Number(value);
  // Number("") is 0 and Number("0x1f") is 31: neither is what somebody meant by a number here.
  if (!/^[-+.\d]/.test(value) || /[xob]/i.test(value) || !Number.isFinite(parsed)) {
    throw new InvalidValue("is not a number");
  }
  return parsed;
}

function readInteger(value: string): number {
  const parsed = readNumber(value);
  if (!Number.isSafeInteger(parsed)) throw new InvalidValue("is not a whole number");
  return parsed;
}

function readScaled(value: string, units: ReadonlyMap<string, number>, example: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(value.trim());
  const unit = units.get((match?.[2] ?? "").toUpperCase());
  if (match?.[1] === undefined || unit === undefined) throw new InvalidValue(`is not ${example}`);
  const parsed = Math.round(Number(match[1]) * unit);
  if (parsed < 1 || !Number.isSafeInteger(parsed)) throw new InvalidValue(`is not ${example}`);
  return parsed;
}

function readJsonObject(value: string): Readonly<Record<string, unknown>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch {
    throw new InvalidValue("is not JSON");
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new InvalidValue("is not a JSON object");
  }
  return { ...parsed };
}

function inRange(value: number, range: Range): number {
  if (range.min !== undefined && value < range.min) throw new InvalidValue(`must be at least ${range.min}`);
  if (range.max !== undefined && value > range.max) throw new InvalidValue(`must be at most ${range.max}`);
  if (range.above !== undefined && value <= range.above) throw new InvalidValue(`must be greater than ${range.above}`);
  return value;
}
