import { RandloraError } from "../errors.ts";
import { type ConfigFile, configFiles, readConfigText, userConfig } from "./config-file.ts";
import { isMapping, toTexts } from "./config-text.ts";
import { GLOBAL_OPTIONS } from "./globals.ts";
import type { ConfigLayer } from "./layers.ts";
import { allCommands, allKeys, flagName, type Program } from "./names.ts";
import { nearest } from "./nearest.ts";
import { findRespelt } from "./spelling.ts";

/*
 * A file's keys are flag names (`learning-rate`, or `learning_rate` as other tools write it). A key at the top holds
 * for every command that has such a flag; a mapping under a command's name holds for that command alone and wins:
 *
 *   device: software
 *   merge: { dtype: bf16 }
 *   cache: { list: { json: true } }
 */

/** What a downloaded folder's randlora.yaml is not to decide: where is written, and who may use the server. */
const USERS_OWN: ReadonlySet<string> = new Set(["force", "out", "svg", "resume", "host", "api-key"]);

/**
 * Reads the configuration files for the command that `path` calls, the strongest first; see {@link configFiles}.
 *
 * @param named what `--config` says
 * @throws {RandloraError} `file`, `format`; `usage` for a key that no command knows, one that this command's section has
 *   and it does not, and one that the current folder may not set
 */
export function readConfig(
  program: Program,
  path: readonly string[],
  named: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): readonly ConfigLayer[] {
  return configFiles(named, environment).map((file) => {
    const source = readConfigText(file);
    const settings = readSettings(program, path, file.name, parseYaml(file.name, source));
    if (file.from === "folder") refuseUsersOwn(program, path, file, settings, userConfig(environment));
    const respelt = new Map<string, string>();
    for (const [flag, value] of settings) {
      const found = findRespelt(source, flag, value);
      if (found !== undefined) respelt.set(flag, String(found));
    }
    return { name: file.name, values: toValues(file.name, settings), respelt };
  });
}

/** The settings that a parsed document holds for one command. */
export function configValues(
  program: Program,
  path: readonly string[],
  name: string,
  document: unknown,
): ReadonlyMap<string, readonly string[]> {
  return toValues(name, readSettings(program, path, name, document));
}

function refuseUsersOwn(
  program: Program,
  path: readonly string[],
  { name }: ConfigFile,
  settings: ReadonlyMap<string, unknown>,
  own: string,
): void {
  const called = allCommands(program).find((entry) => entry.path.join(" ") === path.join(" "));
  const flags = Object.keys(called?.command.options ?? {}).map(flagName);
  const refused = flags.find((flag) => USERS_OWN.has(flag) && settings.has(flag));
  if (refused === undefined) return;
  const hint = `give --${refused}, or set it in ${own} or in a file named by --config`;
  throw new RandloraError("usage", `${name}: ${refused}: the current folder's file may not set this`, hint);
}

function toValues(name: string, settings: ReadonlyMap<string, unknown>): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, readonly string[]>();
  for (const [flag, value] of settings) {
    const texts = toTexts(value);
    if (texts === undefined) {
      throw new RandloraError("usage", `${name}: ${flag}: too large`, "a value that holds itself never ends");
    }
    values.set(flag, texts);
  }
  return values;
}

/** As {@link configValues}, the values as YAML has them. */
function readSettings(
  program: Program,
  path: readonly string[],
  name: string,
  document: unknown,
): ReadonlyMap<string, unknown> {
  const settings = new Map<string, unknown>();
  if (document === null || document === undefined) return settings;
  if (!isMapping(document)) {
    throw new RandloraError(
      "usage",
      `${name}: not a mapping of option names to values`,
      "write lines like `dtype: bf16`",
    );
  }
  readLevel({ program, path, name, settings }, [], document);
  return settings;
}

interface Reading {
  readonly program: Program;
  readonly path: readonly string[];
  readonly name: string;
  readonly settings: Map<string, unknown>;
}

/**
 * Reads the mapping under `section` ([] is the top), which the command is in. Plain keys come first, so that inner sections
 * overrule them; sections of other commands are not looked into.
 */
function readLevel(reading: Reading, section: readonly string[], mapping: Readonly<Record<string, unknown>>): void {
  const within = allCommands(reading.program).filter(({ path }) =>
    section.every((word, index) => path[index] === word),
  );
  const words = new Set(within.flatMap(({ path }) => path.slice(section.length, section.length + 1)));
  const flags = new Set(within.flatMap(({ command }) => allKeys(command.options)).map(flagName));
  for (const key of allKeys(GLOBAL_OPTIONS)) if (key !== "config") flags.add(flagName(key));

  const inner: [string, Readonly<Record<string, unknown>>][] = [];
  for (const [key, value] of Object.entries(mapping)) {
    const flag = key.replaceAll("_", "-");
    const place = [reading.name, ...section, key].join(": ");
    if (words.has(key) && isMapping(value)) inner.push([key, value]);
    else if (!flags.has(flag)) throw unknownKey(place, flag, [...flags, ...words]);
    else if (value !== null) reading.settings.set(flag, value);
  }
  for (const [key, value] of inner) {
    if (reading.path[section.length] === key) readLevel(reading, [...section, key], value);
  }
}

function unknownKey(place: string, flag: string, candidates: readonly string[]): RandloraError {
  const near = nearest(flag, candidates);
  const hint = near === undefined ? "keys are the names of options, without dashes in front" : `did you mean ${near}?`;
  return new RandloraError("usage", `${place}: no such option`, hint);
}

function parseYaml(name: string, source: string): unknown {
  try {
    return Bun.YAML.parse(source);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new RandloraError("format", `${name}: not valid YAML: ${reason}`, "write lines like `dtype: bf16`", {
      cause,
    });
  }
}
