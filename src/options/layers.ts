import { RandloraError } from "../errors.ts";
import { environmentName, flagName } from "./names.ts";
import { InvalidValue, type Option } from "./option.ts";
import type { Given } from "./parse.ts";

/** The places an option's value can come from, the strongest first. */
export interface Layers {
  readonly given: Given;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Configuration files, the strongest first. */
  readonly files: readonly ConfigLayer[];
}

/** Texts of one configuration file by flag name, for one command. */
export interface ConfigLayer {
  /** How errors name it: its path as given. */
  readonly name: string;
  readonly values: ReadonlyMap<string, readonly string[]>;
  /** What YAML read as a number or a truth value, where its text above may not be what was written (`012` is 12). */
  readonly respelt: ReadonlyMap<string, string>;
}

/**
 * Settles every option: flag over environment over file over default.
 *
 * @throws {RandloraError} `usage`, naming the flag, the variable or the file whose value cannot be read
 */
export function settle(
  options: Readonly<Record<string, Option<unknown>>>,
  layers: Layers,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(options).map(([key, option]) => [key, settleOne(key, option, layers)]));
}

/** Where the values of options come from that were not given on the command line: one line each, without the values. */
export function sourcesOf(options: Readonly<Record<string, Option<unknown>>>, layers: Layers): string[] {
  return Object.entries(options).flatMap(([key, option]) => {
    const found = layers.given.has(key) ? undefined : strongest(key, option, layers);
    return found === undefined ? [] : [`--${flagName(key)}: from ${found.source}`];
  });
}

function settleOne(key: string, option: Option<unknown>, layers: Layers): unknown {
  const found = strongest(key, option, layers);
  if (found === undefined) return option.absent;
  try {
    return option.read(found.texts);
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    const written = found.texts.map((value) => JSON.stringify(value)).join(", ");
    throw new RandloraError("usage", `${found.source}: ${written} ${error.message}`, error.hint || hintFor(option));
  }
}

function strongest(key: string, option: Option<unknown>, layers: Layers) {
  const given = layers.given.get(key);
  if (given !== undefined) return { source: `--${flagName(key)}`, texts: given };
  const keys = option.alias === "" ? [key] : [key, option.alias];
  for (const variable of keys.map(environmentName)) {
    const set = layers.environment[variable];
    // An empty variable counts as unset, as in most programs: `RANDLORA_DEVICE= randlora …` must not be an error.
    if (set !== undefined && set !== "") return { source: variable, texts: environmentTexts(option, variable, set) };
  }
  for (const { name, values, respelt } of layers.files) {
    const flag = keys.map(flagName).find((one) => values.has(one));
    const written = flag === undefined ? undefined : values.get(flag);
    if (flag === undefined || written === undefined) continue;
    const read = respelt.get(flag);
    if (option.verbatim && read !== undefined) {
      const cause = `without quotes YAML reads this as ${read}, which may not be what was written`;
      throw new RandloraError("usage", `${name}: ${flag}: ${cause}`, "put it in quotes");
    }
    // A YAML list is several values to an option that repeats, and one value such as "0.9,0.95" to any other.
    const texts = option.repeatable ? written : [written.join(",")];
    return { source: `${name}: ${flag}`, texts };
  }
  return undefined;
}

/** A variable is one value; several, for options that repeat, are a JSON list: `RANDLORA_STOP='["a", "b"]'`. */
function environmentTexts(option: Option<unknown>, variable: string, set: string): readonly string[] {
  if (!option.repeatable || !set.trimStart().startsWith("[")) return [set];
  try {
    const list: unknown = JSON.parse(set);
    if (Array.isArray(list)) return list.map(String);
  } catch {
    // Told below.
  }
  throw new RandloraError(
    "usage",
    `${variable}: ${JSON.stringify(set)} is not a JSON list`,
    'write ["first", "second"]',
  );
}

function hintFor(option: Option<unknown>): string {
  return option.value === "" ? "write true or false" : `expected ${option.value}: ${option.help}`;
}
