import type { CommanderError } from "commander";
import { RandloraError } from "../../files/errors.ts";
import type { Command, Group } from "./command.ts";
import { GLOBAL_OPTIONS } from "./globals.ts";
import { usageOf } from "./help.ts";
import { allCommands, flagName, type Program } from "./names.ts";
import { nearest } from "../../files/nearest.ts";
import { argumentOfOthers, hintOfOtherCommand, optionOfOthers } from "./other-flags.ts";

/** The parser's error as a message and a hint in our words. */
export function usageError(program: Program, argv: readonly string[], error: CommanderError): RandloraError {
  if (error.code === "commander.help") return missingCommand(program, argv);
  const [first = "", suggestion] = error.message.replace(/^error: /, "").split("\n");
  const [, word] = /^unknown command '(.*)'/.exec(first) ?? [];
  if (word !== undefined) return unknownCommand(program, word, findGroup(program, argv));
  const known = findCommand(program, argv);
  const options = { ...GLOBAL_OPTIONS, ...known?.command.options };
  const help = helpHint(program, argv);

  const [, unknown] = /^unknown option '(--?[\w-]+)/.exec(first) ?? [];
  if (unknown !== undefined) {
    if (Object.entries(options).some(([key, { form }]) => form === "flag" && `--${flagName(key)}` === unknown)) {
      const opposite = unknown.startsWith("--no-") ? `--${unknown.slice("--no-".length)}` : `--no-${unknown.slice(2)}`;
      return usage(`option '${unknown}' takes no value`, `write ${unknown}, or ${opposite}`);
    }
    return unknownOption(program, argv, unknown, suggestion);
  }

  const [, bare] = /^option '.*--([\w-]+) <value>' argument missing/.exec(first) ?? [];
  if (bare !== undefined) {
    const value = Object.entries(options).find(([key]) => flagName(key) === bare)?.[1].value ?? "VALUE";
    return usage(`option '--${bare}' needs a value`, `write --${bare} ${value}`);
  }

  const [, name, most, count] =
    /^too many arguments for '(.*)'. Expected (\d+) arguments? but got (\d+)/.exec(first) ?? [];
  if (name !== undefined) {
    return usage(`too many arguments: ${name} takes ${most === "0" ? "none" : most}, and there are ${count}`, help);
  }
  return usage(first, help);
}

/**
 * An option `--name` or `-name` that is not there.
 * @param suggestion the parser's, where it has one
 */
export function unknownOption(
  program: Program,
  argv: readonly string[],
  word: string,
  suggestion?: string,
): RandloraError {
  const known = findCommand(program, argv);
  const message = `unknown option '${word}'`;
  const options = { ...GLOBAL_OPTIONS, ...known?.command.options };
  const ours = optionOfOthers(word, Object.keys(options).map(flagName));
  if (ours !== undefined) return usage(message, `did you mean --${ours}?`);
  const names = Object.values(known?.command.arguments ?? {}).map(({ value }) => value);
  const argument = argumentOfOthers(word, names);
  if (known !== undefined && argument !== undefined) {
    return usage(message, `${argument} stands alone: ${usageOf(program, known.path, known.command)}`);
  }
  const meant = suggestion?.replace(/^\((.*)\)$/, "$1").replace("Did you mean", "did you mean");
  return usage(message, meant ?? helpHint(program, argv));
}

/** No command, or none after the word of a group. */
export function missingCommand(program: Program, argv: readonly string[]): RandloraError {
  const group = findGroup(program, argv);
  const names = (group?.commands ?? program.commands).map(({ name }) => name);
  const words = [program.name, ...(group === undefined ? [] : [group.name])].join(" ");
  return usage(`${words}: no command given`, `one of: ${names.join(", ")}; see ${words} --help`);
}

/** The error of a request for help with a command that does not exist: the parser would explain the whole program. */
export function unknownWord(program: Program, words: readonly string[]): RandloraError | undefined {
  const [first, second] = words[0] === "help" ? words.slice(1) : words;
  if (first === undefined || first.startsWith("-")) return undefined;
  const entry = program.commands.find(({ name }) => name === first);
  if (entry === undefined) return unknownCommand(program, first);
  if (entry.kind === "command" || second === undefined || second.startsWith("-")) return undefined;
  return entry.commands.some(({ name }) => name === second) ? undefined : unknownCommand(program, second, entry);
}

function unknownCommand(program: Program, word: string, group?: Group): RandloraError {
  const entries = group?.commands ?? program.commands;
  const names = entries.map(({ name }) => name);
  const meant = entries.find(({ otherNames = [] }) => otherNames.includes(word))?.name ?? nearest(word, names);
  const words = [program.name, ...(group === undefined ? [] : [group.name])].join(" ");
  const all = `one of: ${names.join(", ")}; see ${words} --help`;
  const other = group === undefined ? hintOfOtherCommand(word) : undefined;
  const hint = other ?? (meant === undefined ? all : `did you mean ${meant}?`);
  return usage(`unknown command '${word}'`, hint);
}

function usage(message: string, hint: string): RandloraError {
  return new RandloraError("usage", message, hint);
}

function findCommand(
  program: Program,
  argv: readonly string[],
): { readonly path: readonly string[]; readonly command: Command } | undefined {
  return allCommands(program).find(({ path }) => path.every((word, index) => argv[index] === word));
}

function findGroup(program: Program, argv: readonly string[]): Group | undefined {
  return program.commands.find((entry): entry is Group => entry.kind === "group" && argv.includes(entry.name));
}

function helpHint(program: Program, argv: readonly string[]): string {
  const entry = program.commands.find(({ name }) => argv.includes(name));
  const path = findCommand(program, argv)?.path ?? (entry === undefined ? [] : [entry.name]);
  return `see ${[program.name, ...path, "--help"].join(" ")}`;
}
