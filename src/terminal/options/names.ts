import type { Command, Group } from "./command.ts";
import { GLOBAL_OPTIONS } from "./globals.ts";
import { nearest } from "../../files/nearest.ts";

/** `maxShardSize` → `max-shard-size`: how an option is spelled on the command line and in a configuration file. */
export function flagName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `maxShardSize` → `RANDLORA_MAX_SHARD_SIZE`. */
export function environmentName(key: string): string {
  return `RANDLORA_${flagName(key).replaceAll("-", "_").toUpperCase()}`;
}

/** The keys of options, those included that are other names. */
export function allKeys(options: Readonly<Record<string, { readonly alias: string }>>): string[] {
  return Object.entries(options).flatMap(([key, { alias }]) => (alias === "" ? [key] : [key, alias]));
}

/** The whole program: what `randlora --help` describes. */
export interface Program {
  readonly name: string;
  readonly version: string;
  readonly summary: string;
  readonly example: string;
  readonly commands: readonly (Command | Group)[];
  /** Flags that mean different things to different commands: a configuration file has them in a command's section only. */
  readonly perCommand: readonly string[];
}

/** What the words of a command line have led to so far. */
export interface Place {
  readonly program: Program;
  readonly path: readonly string[];
  readonly entry: Program | Group | Command;
}

/** Every command with the words that call it: `["cache", "list"]`. */
export function allCommands(program: Program): { readonly path: readonly string[]; readonly command: Command }[] {
  return program.commands.flatMap((entry) =>
    entry.kind === "command"
      ? [{ path: [entry.name], command: entry }]
      : entry.commands.map((command) => ({ path: [entry.name, command.name], command })),
  );
}

/**
 * Variables that look like an option's but are none, each with the option that was probably meant. Only near misses:
 * other programs may well have variables of this prefix.
 */
export function misspeltVariables(
  program: Program,
  environment: Readonly<Record<string, string | undefined>>,
): { readonly variable: string; readonly meant: string }[] {
  const options = allCommands(program).flatMap(({ command }) => allKeys(command.options));
  const known = new Set([...options, ...allKeys(GLOBAL_OPTIONS)].map(environmentName));
  const prefix = "RANDLORA_";
  const words = [...known].map((variable) => variable.slice(prefix.length));
  return Object.keys(environment).flatMap((variable) => {
    if (!variable.startsWith(prefix) || known.has(variable)) return [];
    const meant = nearest(variable.slice(prefix.length), words);
    return meant === undefined ? [] : [{ variable, meant: prefix + meant }];
  });
}
