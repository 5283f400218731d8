import { parseDocument, visit } from "yaml";
import { RandloraError } from "../../files/errors.ts";
import { type ConfigFile, configFiles, readConfigText, userConfig } from "./config-file.ts";
import { GLOBAL_OPTIONS } from "./globals.ts";
import type { ConfigLayer } from "./layers.ts";
import { allCommands, allKeys, flagName, type Program } from "./names.ts";
import { nearest } from "../../files/nearest.ts";

/*
 * A configuration file's values. Scalars are texts, as written (as YAML's failsafe schema has them): `012` stays `012`, and an
 * option reads it as it reads the command line. Types (YAML's core schema) matter within the JSON objects of some options, and
 * for what is left empty.
 *
 * Aliases make a small file a large value, or one that holds itself: what it comes to is counted before it is written out.
 */

const MAX_CHARACTERS = 2 ** 20;
const MAX_DEPTH = 32;

/** A value as it was written, every scalar a text, and as YAML's types have it. */
interface Written {
  readonly text: unknown;
  readonly typed: unknown;
}

/** @throws {RandloraError} `format` naming the line */
function parseYaml(name: string, source: string): Written {
  try {
    const document = parseDocument(source, { schema: "core", logLevel: "error" });
    for (const error of document.errors) throw error;
    const typed: unknown = document.toJS();
    // Not parsed again with the failsafe schema: that takes as long as the first time.
    visit(document, {
      Scalar(_, node) {
        node.value = node.source ?? node.value;
      },
    });
    return { text: document.toJS(), typed };
  } catch (cause) {
    // Its message goes on with the lines around the place.
    const [reason = ""] = (cause instanceof Error ? cause.message : String(cause)).split("\n");
    const hint = "write lines like `device: cpu`";
    throw new RandloraError("format", `${name}: not valid YAML: ${reason.replace(/:$/, "")}`, hint, { cause });
  }
}

/** The texts of a value, one for each item of a list; undefined where they would be too long. */
function toTexts({ text, typed }: Written): readonly string[] | undefined {
  if (size(text, MAX_CHARACTERS, 0) > MAX_CHARACTERS) return undefined;
  const types: readonly unknown[] = Array.isArray(typed) ? typed : [];
  return Array.isArray(text) ? text.map((item, at) => toText(item, types[at])) : [toText(text, typed)];
}

/** Is this value a mapping of keys to values? */
function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function toText(text: unknown, typed: unknown): string {
  return isMapping(text) ? JSON.stringify(typed) : String(text);
}

/** Characters that a value comes to, at least; counted no further than `most`. */
function size(value: unknown, most: number, depth: number): number {
  if (typeof value !== "object" || value === null) return String(value).length + 1;
  if (depth > MAX_DEPTH) return Infinity;
  let sum = 2;
  for (const [key, item] of Object.entries(value)) {
    sum += key.length + size(item, most - sum, depth + 1);
    if (sum > most) return Infinity;
  }
  return sum;
}

/*
 * A file's keys are flag names (`learning-rate`, or `learning_rate` as other tools write it). A key at the top holds
 * for every command that has such a flag, unless it means different things to them; a mapping under a command's name holds
 * for that command alone and wins:
 *
 *   device: software
 *   merge: { dtype: bf16 }
 *   cache: { list: { json: true } }
 */

/** What a downloaded folder's randlora.yaml is not to decide: where is written, what is removed, and who may use the server. */
export const USERS_OWN: ReadonlySet<string> = new Set([
  "force",
  "yes",
  "out",
  "parts",
  "log-dir",
  "svg",
  "resume",
  "host",
  "api-key",
  "api-keys",
  "trusted-proxy",
  "adapter-dir",
]);

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
    const settings = readSettings(program, path, file.name, parseYaml(file.name, readConfigText(file)));
    if (file.from === "folder") refuseUsersOwn(program, path, file, settings, userConfig(environment));
    return { name: file.name, values: toValues(file.name, settings), isForeign: file.from === "folder" };
  });
}

/** The settings that a file holds for one command. */
export function configValues(
  program: Program,
  path: readonly string[],
  name: string,
  source: string,
): ReadonlyMap<string, readonly string[]> {
  return toValues(name, readSettings(program, path, name, parseYaml(name, source)));
}

function refuseUsersOwn(
  program: Program,
  path: readonly string[],
  { name }: ConfigFile,
  settings: ReadonlyMap<string, Written>,
  own: string,
): void {
  const called = allCommands(program).find((entry) => entry.path.join(" ") === path.join(" "));
  const flags = Object.keys(called?.command.options ?? {}).map(flagName);
  const refused = flags.find((flag) => USERS_OWN.has(flag) && settings.has(flag));
  if (refused === undefined) return;
  const hint = `give --${refused}, or set it in ${own} or in a file named by --config`;
  throw new RandloraError("usage", `${name}: ${refused}: the current folder's file may not set this`, hint);
}

function toValues(name: string, settings: ReadonlyMap<string, Written>): ReadonlyMap<string, readonly string[]> {
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
  { text, typed }: Written,
): ReadonlyMap<string, Written> {
  const settings = new Map<string, Written>();
  if (typed === null || typed === undefined) return settings;
  if (!isMapping(text) || !isMapping(typed)) {
    throw new RandloraError(
      "usage",
      `${name}: not a mapping of option names to values`,
      "write lines like `device: cpu`",
    );
  }
  readLevel({ program, path, name, settings }, [], text, typed);
  return settings;
}

type Mapping = Readonly<Record<string, unknown>>;

interface Reading {
  readonly program: Program;
  readonly path: readonly string[];
  readonly name: string;
  readonly settings: Map<string, Written>;
}

/**
 * Reads the mapping under `section` ([] is the top), which the command is in. Plain keys come first, so that inner sections
 * overrule them; sections of other commands are not looked into.
 */
function readLevel(reading: Reading, section: readonly string[], texts: Mapping, types: Mapping): void {
  const within = allCommands(reading.program).filter(({ path }) =>
    section.every((word, index) => path[index] === word),
  );
  const words = new Set(within.flatMap(({ path }) => path.slice(section.length, section.length + 1)));
  const flags = new Set(within.flatMap(({ command }) => allKeys(command.options)).map(flagName));
  for (const key of allKeys(GLOBAL_OPTIONS)) if (key !== "config") flags.add(flagName(key));

  const inner: [key: string, texts: Mapping, types: Mapping][] = [];
  for (const [key, text] of Object.entries(texts)) {
    const typed = types[key];
    const flag = key.replaceAll("_", "-");
    const place = [reading.name, ...section, key].join(": ");
    if (words.has(key) && isMapping(text) && isMapping(typed)) inner.push([key, text, typed]);
    else if (!flags.has(flag)) throw unknownKey(place, flag, [...flags, ...words]);
    else if (section.length === 0 && reading.program.perCommand.includes(flag))
      throw ambiguousKey(place, flag, reading);
    else if (typed !== null) reading.settings.set(flag, { text, typed });
  }
  for (const [key, text, typed] of inner) {
    if (reading.path[section.length] === key) readLevel(reading, [...section, key], text, typed);
  }
}

function ambiguousKey(place: string, flag: string, { program, path }: Reading): RandloraError {
  const having = allCommands(program).filter(({ command }) =>
    Object.keys(command.options).map(flagName).includes(flag),
  );
  const called = having.find((one) => one.path.join(" ") === path.join(" ")) ?? having[0];
  const section = called?.path.reduceRight((inner, word) => `${word}: { ${inner} }`, `${flag}: …`);
  const cause = `${place}: it means different things to different commands`;
  return new RandloraError("usage", cause, `put it under the name of a command: ${section}`);
}

function unknownKey(place: string, flag: string, candidates: readonly string[]): RandloraError {
  const near = nearest(flag, candidates);
  const hint = near === undefined ? "keys are the names of options, without dashes in front" : `did you mean ${near}?`;
  return new RandloraError("usage", `${place}: no such option`, hint);
}
