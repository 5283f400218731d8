import { parseArgs } from "node:util";
import { RandloraError } from "../../files/errors.ts";
import type { Argument, Command, Group } from "./command.ts";
import { GLOBAL_OPTIONS } from "./globals.ts";
import { commandHelp, groupHelp, programHelp, type HelpStyle } from "./help.ts";
import { flagName, type Place, type Program } from "./names.ts";
import type { Option } from "./option.ts";
import { InvalidValue } from "./values.ts";
import {
  missingArgument,
  missingCommand,
  noValue,
  tooManyArguments,
  unknownCommand,
  unknownOption,
  valueMissing,
} from "./usage-error.ts";

/** Texts given on the command line, by option key, in their order; none for an option that stands without its value. */
export type Given = ReadonlyMap<string, readonly string[]>;

/** What a command line asks for. */
export type Request =
  | { readonly kind: "help" | "version"; readonly text: string }
  | {
      readonly kind: "run";
      readonly path: readonly string[];
      readonly command: Command;
      /** Texts of each positional argument, in the order of the definition. */
      readonly positionals: readonly (readonly string[])[];
      readonly given: Given;
    };

/**
 * Reads a command line (without the program's name). Values are not interpreted here: other layers may overrule them. An
 * empty one asks for help, as that of most programs does.
 *
 * @throws {RandloraError} `usage`, with the nearest name in the hint where there is one
 */
export function parse(program: Program, argv: readonly string[], style: HelpStyle): Request {
  if (argv.length === 0) return { kind: "help", text: programHelp(program, style) };
  const given = new Map<string, readonly string[]>();
  let place: Place = { program, path: [], entry: program };
  let rest = argv;
  while ("commands" in place.entry) {
    const { asked, words, next } = readArguments(place, rest, given);
    if (asked !== undefined) return answer(asked, place, style);
    // `runs` and `cache` alone list.
    const alone = place.path.length > 0 ? place.entry.commands.find(({ name }) => name === "list")?.name : undefined;
    const [word = alone] = words;
    if (word === undefined) throw missingCommand(place);
    const entry: Command | Group | undefined = place.entry.commands.find(({ name }) => name === word);
    rest = rest.slice(next);
    if (entry !== undefined) place = { program, path: [...place.path, word], entry };
    else if (word === "help") rest = [...rest, "--help"];
    else throw unknownCommand(place, word);
  }
  const { path, entry: command } = place;
  const { asked, words } = readArguments(place, rest, given);
  if (asked !== undefined) return answer(asked, place, style);
  return { kind: "run", path, command, positionals: splitPositionals(place, command, words), given };
}

/** What a command line may ask for in place of running. */
const ASKED = ["help", "help-all", "version"] as const;
type Asked = (typeof ASKED)[number];

function answer(asked: Asked, place: Place, style: HelpStyle): Request {
  const { program, entry } = place;
  if (asked === "version") return { kind: "version", text: `${program.version}\n` };
  if (!("kind" in entry)) return { kind: "help", text: programHelp(program, style) };
  if (entry.kind === "group") return { kind: "help", text: groupHelp(program, entry, style) };
  return { kind: "help", text: commandHelp(place, entry, asked === "help-all", style) };
}

interface Arguments {
  readonly asked?: Asked;
  readonly words: readonly string[];
  /** Where the arguments behind the first word begin. */
  readonly next: number;
}

/** Reads options into `given`, and words: of a command all that follow, elsewhere the first one, which names a command. */
function readArguments(place: Place, args: readonly string[], given: Map<string, readonly string[]>): Arguments {
  const { entry } = place;
  const options = { ...GLOBAL_OPTIONS, ...("options" in entry ? entry.options : {}) };
  const known = spellings(options);
  const all = tokensOf(args, known);
  const end = "commands" in entry ? all.findIndex(({ kind }) => kind === "positional") : -1;
  const tokens = end < 0 ? all : all.slice(0, end + 1);
  const next = (tokens.at(-1)?.index ?? 0) + 1;
  const asked = tokens.flatMap(({ kind, name }) => ASKED.filter((one) => kind === "option" && one === name))[0];
  if (asked !== undefined) return { asked, words: [], next };
  const words: string[] = [];
  for (const [at, token] of tokens.entries()) {
    if (token.kind === "positional") words.push(token.value ?? "");
    if (token.kind !== "option") continue;
    const written = (args[token.index] ?? "").replace(/=.*/s, "");
    const meant = known.get(token.name);
    if (meant === undefined) throw unknownOption(place, options, written);
    const { key, option, text } = meant;
    if (text !== undefined) {
      if (token.value !== undefined) throw noValue(token.rawName);
      given.set(key, [...(given.get(key) ?? []), text]);
      continue;
    }
    let { value } = token;
    if (option.form === "optional" && value === undefined && tokens[at + 1]?.kind === "positional") {
      value = tokens.splice(at + 1, 1)[0]?.value;
    }
    if (value === undefined && option.form === "value") throw valueMissing(token.name, option);
    if (value !== undefined && isGlued(args[token.index], option, value)) throw unknownOption(place, options, written);
    given.set(key, value === undefined ? [] : [...(given.get(key) ?? []), value]);
  }
  return { words, next };
}

interface Spelling {
  readonly key: string;
  readonly option: Option<unknown>;
  /** What a flag says where it stands. */
  readonly text?: "true" | "false";
}

/** Every long name that may be written. */
function spellings(options: Readonly<Record<string, Option<unknown>>>): ReadonlyMap<string, Spelling> {
  const all = new Map<string, Spelling>();
  for (const [key, option] of Object.entries(options)) {
    const name = flagName(key);
    all.set(name, option.form === "flag" ? { key, option, text: "true" } : { key, option });
    if (option.alias !== "") all.set(flagName(option.alias), { key, option });
    if (option.form !== "flag") continue;
    // The opposite of every flag exists, unlisted, so that a command line can overrule a file or the environment.
    const opposite = name.startsWith("no-") ? name.slice("no-".length) : `no-${name}`;
    const isTaken = Object.keys(options).some((other) => flagName(other) === opposite);
    if (!isTaken) all.set(opposite, { key, option, text: "false" });
  }
  return all;
}

interface Token {
  readonly kind: "option" | "positional" | "option-terminator";
  readonly index: number;
  readonly name: string;
  readonly rawName: string;
  readonly value: string | undefined;
}

function tokensOf(args: readonly string[], known: ReadonlyMap<string, Spelling>): Token[] {
  const named = [...known].map(([name, { key, option }]) => {
    const type = option.form === "value" ? ("string" as const) : ("boolean" as const);
    const short = option.short !== "" && name === flagName(key) ? { short: option.short } : {};
    return [name, { type, ...short }] as const;
  });
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: {
      ...Object.fromEntries(named),
      help: { type: "boolean", short: "h" },
      "help-all": { type: "boolean" },
      version: { type: "boolean", short: "V" },
    },
  });
  return tokens.map((token) => ({ name: "", rawName: "", value: undefined, ...token }));
}

/** Whether a word such as `-ngl` of another program was taken for `-n gl`: where the value can be none. */
function isGlued(word: string | undefined, option: Option<unknown>, value: string): boolean {
  if (option.short === "" || word !== `-${option.short}${value}` || !/^[a-z]/i.test(value)) return false;
  try {
    option.read([value]);
    return false;
  } catch (error) {
    if (error instanceof InvalidValue) return true;
    throw error;
  }
}

/** @throws {RandloraError} `usage` where there are too few or too many, or one is empty */
function splitPositionals(place: Place, command: Command, words: readonly string[]): (readonly string[])[] {
  const all = Object.values(command.arguments);
  const isMany = ({ form }: Argument<unknown>) => form === "variadic" || form === "several";
  const missing = all.find(({ form }, at) => (form === "required" || form === "variadic") && at >= words.length);
  if (missing !== undefined) throw missingArgument(place, missing);
  if (!all.some(isMany) && words.length > all.length) throw tooManyArguments(place, command, words.length);
  const empty = words.indexOf("");
  if (empty >= 0) {
    // As a rule a variable of the shell that is not set.
    const cause = `argument '${all[Math.min(empty, all.length - 1)]?.value ?? ""}' is empty`;
    throw new RandloraError("usage", cause, "is a variable of the shell not set?");
  }
  return all.map((argument, at) => words.slice(at, isMany(argument) ? undefined : at + 1));
}
