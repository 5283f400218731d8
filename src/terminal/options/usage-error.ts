import { RandloraError } from "../../files/errors.ts";
import { nearest } from "../../files/nearest.ts";
import type { Argument, Command } from "./command.ts";
import { usageOf } from "./help.ts";
import { flagName, type Place } from "./names.ts";
import type { Option } from "./option.ts";
import { argumentOfOthers, hintOfOtherCommand, optionOfOthers } from "./other-flags.ts";

/** An option `--name` or `-name` that is not among `options`. */
export function unknownOption(
  place: Place,
  options: Readonly<Record<string, Option<unknown>>>,
  word: string,
): RandloraError {
  const message = `unknown option '${word}'`;
  const flags = Object.keys(options).map(flagName);
  const ours = optionOfOthers(word, flags);
  if (ours !== undefined) return usage(message, `did you mean --${ours}?`);
  const { program, path, entry } = place;
  if ("arguments" in entry) {
    const names = Object.values(entry.arguments).map(({ value }) => value);
    const argument = argumentOfOthers(word, names);
    if (argument !== undefined) return usage(message, `${argument} stands alone: ${usageOf(program, path, entry)}`);
  }
  const near = word.startsWith("--") ? nearest(word.slice(2), [...flags, "help", "help-all", "version"]) : undefined;
  return usage(message, near === undefined ? seeHelp(place) : `did you mean --${near}?`);
}

/** A flag `--name` with a value. */
export function noValue(flag: string): RandloraError {
  const opposite = flag.startsWith("--no-") ? `--${flag.slice("--no-".length)}` : `--no-${flag.replace(/^-+/, "")}`;
  return usage(`option '${flag}' takes no value`, `write ${flag}, or ${opposite}`);
}

/** An option at the end that needs a value. */
export function valueMissing(name: string, { value }: Option<unknown>): RandloraError {
  return usage(`option '--${name}' needs a value`, `write --${name} ${value}`);
}

/** No command, or none after the word of a group. */
export function missingCommand(place: Place): RandloraError {
  const words = [place.program.name, ...place.path].join(" ");
  return usage(`${words}: no command given`, oneOf(place));
}

export function unknownCommand(place: Place, word: string): RandloraError {
  const entries = "commands" in place.entry ? place.entry.commands : [];
  const names = entries.map(({ name }) => name);
  const meant = entries.find(({ otherNames = [] }) => otherNames.includes(word))?.name ?? nearest(word, names);
  const other = place.path.length === 0 ? hintOfOtherCommand(word) : undefined;
  return usage(`unknown command '${word}'`, other ?? (meant === undefined ? oneOf(place) : `did you mean ${meant}?`));
}

export function missingArgument(place: Place, { value }: Argument<unknown>): RandloraError {
  return usage(`missing required argument '${value}'`, seeHelp(place));
}

/** What stands behind the last argument is, where a command reads data, mostly the file of it. */
export function tooManyArguments(place: Place, { arguments: all, options }: Command, count: number): RandloraError {
  const most = Object.keys(all).length;
  const takes = `${place.path.at(-1)} takes ${most === 0 ? "none" : most}`;
  const data = "data" in options ? "data is given with --data; " : "";
  return usage(`too many arguments: ${takes}, and there are ${count}`, `${data}${seeHelp(place)}`);
}

function oneOf({ program, path, entry }: Place): string {
  const names = "commands" in entry ? entry.commands.map(({ name }) => name) : [];
  return `one of: ${names.join(", ")}; see ${[program.name, ...path].join(" ")} --help`;
}

function seeHelp({ program, path }: Place): string {
  return `see ${[program.name, ...path, "--help"].join(" ")}`;
}

function usage(message: string, hint: string): RandloraError {
  return new RandloraError("usage", message, hint);
}
