import { existsSync, readFileSync } from "node:fs";
import { RandloraError } from "../errors.ts";
import { NO_FILE, type ConfigLayer } from "./layers.ts";
import { GLOBAL_OPTIONS } from "./globals.ts";
import { allCommands, flagName, type Program } from "./names.ts";
import { nearest } from "./nearest.ts";
import { findRespelt } from "./spelling.ts";

/** Read when no `--config` is given, if it exists in the current folder. */
export const DEFAULT_CONFIG = "randlora.yaml";

/*
 * The file's keys are flag names (`learning-rate`, or `learning_rate` as other tools write it). A key at the top holds
 * for every command that has such a flag; a mapping under a command's name holds for that command alone and wins:
 *
 *   gpu: software
 *   merge: { dtype: bf16 }
 *   cache: { list: { json: true } }
 */

/**
 * Reads the configuration file for the command that `path` calls.
 *
 * @param file what `--config` says; undefined means `randlora.yaml` where there is one
 * @throws {RandloraError} `file`, `format`; `usage` for a key that no command knows
 */
export function readConfig(program: Program, path: readonly string[], file: string | undefined): ConfigLayer {
  if (file === undefined && !existsSync(DEFAULT_CONFIG)) return NO_FILE;
  const name = file ?? DEFAULT_CONFIG;
  const source = readText(name);
  const settings = readSettings(program, path, name, parseYaml(name, source));
  const respelt = new Map<string, string>();
  for (const [flag, value] of settings) {
    const found = findRespelt(source, flag, value);
    if (found !== undefined) respelt.set(flag, String(found));
  }
  return { name, values: toValues(settings), respelt };
}

/** The settings that a parsed document holds for one command. */
export function configValues(
  program: Program,
  path: readonly string[],
  name: string,
  document: unknown,
): ReadonlyMap<string, readonly string[]> {
  return toValues(readSettings(program, path, name, document));
}

function toValues(settings: ReadonlyMap<string, unknown>): ReadonlyMap<string, readonly string[]> {
  return new Map([...settings].map(([flag, value]) => [flag, toTexts(value)]));
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

/** Reads the mapping under `section` ([] is the top). Plain keys come first, so that inner sections overrule them. */
function readLevel(reading: Reading, section: readonly string[], mapping: Readonly<Record<string, unknown>>): void {
  const within = allCommands(reading.program).filter(({ path }) =>
    section.every((word, index) => path[index] === word),
  );
  const words = new Set(within.flatMap(({ path }) => path.slice(section.length, section.length + 1)));
  const flags = new Set(within.flatMap(({ command }) => Object.keys(command.options)).map(flagName));
  for (const key of Object.keys(GLOBAL_OPTIONS)) if (key !== "config") flags.add(flagName(key));

  const applies = section.every((word, index) => reading.path[index] === word);
  const inner: [string, Readonly<Record<string, unknown>>][] = [];
  for (const [key, value] of Object.entries(mapping)) {
    const flag = key.replaceAll("_", "-");
    const place = [reading.name, ...section, key].join(": ");
    if (words.has(key) && isMapping(value)) inner.push([key, value]);
    else if (!flags.has(flag)) throw unknownKey(place, flag, [...flags, ...words]);
    else if (applies && value !== null) reading.settings.set(flag, value);
  }
  for (const [key, value] of inner) readLevel(reading, [...section, key], value);
}

function unknownKey(place: string, flag: string, candidates: readonly string[]): RandloraError {
  const near = nearest(flag, candidates);
  const hint = near === undefined ? "keys are the names of options, without dashes in front" : `did you mean ${near}?`;
  return new RandloraError("usage", `${place}: no such option`, hint);
}

function toTexts(value: unknown): readonly string[] {
  if (!Array.isArray(value)) return [toText(value)];
  return value.map(toText);
}

function toText(value: unknown): string {
  return isMapping(value) ? JSON.stringify(value) : String(value);
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readText(name: string): string {
  try {
    return readFileSync(name, "utf8");
  } catch (cause) {
    throw new RandloraError("file", `${name}: cannot be read`, "check the path after --config", { cause });
  }
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
