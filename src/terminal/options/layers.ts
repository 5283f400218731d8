import { Contradiction, RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import { environmentName, flagName } from "./names.ts";
import type { Option } from "./option.ts";
import { InvalidValue } from "./values.ts";
import type { Given } from "./parse.ts";

/** The places an option's value can come from, the strongest first. */
export interface Layers {
  readonly given: Given;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Configuration files, the strongest first. */
  readonly files: readonly ConfigLayer[];
  /** Options that count as given nowhere: what contradicts them comes from a stronger place. */
  readonly dropped: ReadonlySet<string>;
}

type Options = Readonly<Record<string, Option<unknown>>>;

/** Texts of one configuration file by flag name, for one command. */
export interface ConfigLayer {
  /** How errors name it: its path as given. */
  readonly name: string;
  readonly values: ReadonlyMap<string, readonly string[]>;
  /** Whether somebody else may have written it: the current folder may be a download. */
  readonly isForeign: boolean;
}

/**
 * Settles every option: flag over environment over file over default.
 *
 * @throws {RandloraError} `usage`, naming the flag, the variable or the file whose value cannot be read
 */
export function settle(options: Options, layers: Layers): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(options).map(([key, option]) => [key, settleOne(key, option, layers)]));
}

/** Where the values of options come from that were not given on the command line: one line each, without the values. */
export function sourcesOf(options: Options, layers: Layers): string[] {
  return Object.entries(options).flatMap(([key, option]) => {
    const found = strongest(key, option, layers);
    return found === undefined || found.rank === 0 ? [] : [`--${flagName(key)}: from ${found.source}`];
  });
}

/** What a file of somebody else decides, as flags; undefined where it decides nothing. */
export function foreignSettings(options: Options, layers: Layers): string | undefined {
  const found = Object.entries(options).flatMap(([key, option]) => {
    const { file, texts } = strongest(key, option, layers) ?? {};
    return file?.isForeign && texts?.length ? [{ file, words: asFlags(flagName(key), option, texts) }] : [];
  });
  const name = found[0]?.file.name;
  return name && `${name} in this folder sets ${found.flatMap(({ words }) => words).join(" ")}`;
}

function asFlags(flag: string, option: Option<unknown>, texts: readonly string[]): string[] {
  if (option.form === "flag") return [option.read(texts) === true ? `--${flag}` : `--no-${flag}`];
  return texts.map((text) => `--${flag} ${/^[\w.,:/+-]+$/.test(text) ? text : quote(text)}`);
}

/**
 * Settles a contradiction: the option that comes from the weakest place gives way, if what it contradicts comes from a
 * stronger one. Arguments, and what is found under their names, are as strong as the command line.
 *
 * @returns undefined where no option is weaker than the others
 */
export function settleContradiction(
  { options: keys, message }: Contradiction,
  options: Options,
  layers: Layers,
): { readonly key: string; readonly note: string } | undefined {
  const given = keys.flatMap((key) => {
    const option = options[key];
    const found = option && strongest(key, option, layers);
    return found === undefined ? [] : [{ key, ...found }];
  });
  const [weakest, ...others] = given.toSorted((a, b) => b.rank - a.rank);
  const stronger = others.at(-1) ?? { rank: 0, source: undefined };
  if (weakest === undefined || weakest.rank <= stronger.rank) return undefined;
  const reason = stronger.source === undefined ? message : `${stronger.source} was given`;
  return { key: weakest.key, note: `${weakest.source} is ignored: ${reason}` };
}

/** An error whose hint names options says of those that nobody typed where they come from. */
export function withSources(thrown: unknown, options: Options, layers: Layers): unknown {
  if (!(thrown instanceof RandloraError) || thrown.code !== "usage") return thrown;
  const keys = thrown instanceof Contradiction ? thrown.options : [];
  const sources = Object.entries(options).flatMap(([key, option]) => {
    const isNamed = keys.includes(key) || new RegExp(`--(no-)?${flagName(key)}(?![\\w-])`).test(thrown.hint);
    const found = isNamed ? strongest(key, option, layers) : undefined;
    return found === undefined || found.rank === 0 ? [] : [found.source];
  });
  if (sources.length === 0) return thrown;
  const hint = `it comes from ${sources.join(" and ")}: change that, or overrule it on the command line`;
  return new RandloraError("usage", thrown.message, hint, { cause: thrown });
}

function settleOne(key: string, option: Option<unknown>, layers: Layers): unknown {
  const found = strongest(key, option, layers);
  if (found === undefined) return option.absent;
  if (found.texts.includes("")) {
    const hint = found.file === undefined ? "is a variable of the shell not set?" : "remove it, or give it a value";
    throw new RandloraError("usage", `${found.source} is empty`, hint);
  }
  try {
    return option.read(found.texts);
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    const written = found.texts.map((value) => JSON.stringify(value)).join(", ");
    throw new RandloraError("usage", `${found.source}: ${written} ${error.message}`, error.hint || hintFor(option));
  }
}

/** What the strongest place says. `rank`: 0 is the command line, 1 the environment, then come the files. */
interface Found {
  readonly source: string;
  readonly rank: number;
  readonly texts: readonly string[];
  readonly file?: ConfigLayer;
}

function strongest(key: string, option: Option<unknown>, layers: Layers): Found | undefined {
  if (layers.dropped.has(key)) return undefined;
  const given = layers.given.get(key);
  if (given !== undefined) return { source: `--${flagName(key)}`, rank: 0, texts: given };
  const keys = option.alias === "" ? [key] : [key, option.alias];
  for (const variable of keys.map(environmentName)) {
    const set = layers.environment[variable];
    // An empty variable counts as unset, as in most programs: `RANDLORA_DEVICE= randlora …` must not be an error.
    if (set !== undefined && set !== "") {
      return { source: variable, rank: 1, texts: environmentTexts(option, variable, set) };
    }
  }
  for (const [at, file] of layers.files.entries()) {
    const flag = keys.map(flagName).find((one) => file.values.has(one));
    const written = flag === undefined ? undefined : file.values.get(flag);
    if (flag === undefined || written === undefined) continue;
    // A YAML list is several values to an option that repeats, and one value such as "0.9,0.95" to any other.
    const texts = option.repeatable ? written : [written.join(",")];
    return { source: `${file.name}: ${flag}`, rank: 2 + at, texts, file };
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

function hintFor({ value, choices, help }: Option<unknown>): string {
  if (value === "") return "write true or false";
  // Choices are listed by the message.
  return choices.length > 0 ? help : `expected ${value}: ${help}`;
}
