import { Command as Parser, CommanderError, Option as ParserOption } from "commander";
import { RandloraError } from "../errors.ts";
import type { Argument, Command, Group } from "./command.ts";
import { GLOBAL_OPTIONS } from "./globals.ts";
import { commandHelp, groupHelp, programHelp, type HelpStyle } from "./help.ts";
import { allCommands, flagName, type Program } from "./names.ts";
import { nearest } from "./nearest.ts";
import { optionOfOthers } from "./other-flags.ts";
import type { Option } from "./option.ts";

/** Texts given on the command line, by option key, in their order. */
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
 * Reads a command line (without the program's name). Values are not interpreted here: other layers may overrule them.
 *
 * @throws {RandloraError} `usage`, with the nearest name in the hint where there is one
 */
export function parse(program: Program, argv: readonly string[], style: HelpStyle): Request {
  let request: Request | undefined;
  const given = new Map<string, string[]>();
  const output: string[] = [];

  const prepare = (parser: Parser, help: string): Parser => {
    parser.helpInformation = () => help;
    parser
      .exitOverride()
      .configureOutput({
        writeOut: (part) => output.push(part),
        writeErr: () => undefined,
        outputError: () => undefined,
      })
      .helpOption("-h, --help", "show this")
      .version(program.version, "-V, --version")
      .enablePositionalOptions()
      .allowExcessArguments(false);
    addOptions(parser, GLOBAL_OPTIONS, given);
    return parser;
  };

  const addCommand = (parent: Parser, path: readonly string[], command: Command): void => {
    const parser = prepare(new Parser(command.name), commandHelp(program, path, command, style));
    for (const argument of Object.values(command.arguments))
      parser.argument(argumentSyntax(argument.form, argument.value));
    addOptions(parser, command.options, given);
    parser.action(() => {
      refuseEmpty(command, parser.args);
      request = { kind: "run", path, command, positionals: splitPositionals(command, parser.args), given };
    });
    parent.addCommand(parser);
  };

  const root = prepare(new Parser(program.name), programHelp(program, style));
  for (const entry of program.commands) {
    if (entry.kind === "command") {
      addCommand(root, [entry.name], entry);
      continue;
    }
    const group = prepare(new Parser(entry.name), groupHelp(program, entry, style));
    for (const command of entry.commands) addCommand(group, [entry.name, command.name], command);
    root.addCommand(group);
  }

  try {
    root.parse(argv, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === "commander.version") return { kind: "version", text: output.join("") };
    const unknown = error.code.startsWith("commander.help") ? unknownWord(program, root.args) : undefined;
    if (unknown !== undefined) throw unknown;
    if (error.exitCode !== 0) throw usageError(program, argv, error);
    return { kind: "help", text: output.join("") };
  }
  if (request === undefined) throw missingCommand(program, argv);
  return request;
}

function addOptions(parser: Parser, options: Readonly<Record<string, Option<unknown>>>, given: Map<string, string[]>) {
  for (const [key, option] of Object.entries(options)) {
    const name = flagName(key);
    const short = option.short === "" ? "" : `-${option.short}, `;
    const value = { flag: "", value: " <value>", optional: " [value]" }[option.form];
    parser.addOption(new ParserOption(`${short}--${name}${value}`));
    const add = (text: string): void => {
      given.set(key, [...(given.get(key) ?? []), text]);
    };
    parser.on(`option:${name}`, (text?: string | null) => add(option.form === "flag" ? "true" : (text ?? "")));
    if (option.alias !== "") {
      parser.addOption(new ParserOption(`--${flagName(option.alias)}${value}`).hideHelp());
      parser.on(`option:${flagName(option.alias)}`, (text?: string | null) => add(text ?? ""));
    }
    if (option.form !== "flag") continue;
    // The opposite of every flag exists, unlisted, so that a command line can overrule a file or the environment.
    const opposite = name.startsWith("no-") ? name.slice("no-".length) : `no-${name}`;
    if (Object.keys(options).some((other) => flagName(other) === opposite)) continue;
    parser.addOption(new ParserOption(`--${opposite}`).hideHelp());
    parser.on(`option:${opposite}`, () => add("false"));
  }
}

function argumentSyntax(form: Argument<unknown>["form"], value: string): string {
  return { required: `<${value}>`, optional: `[${value}]`, variadic: `<${value}...>`, several: `[${value}...]` }[form];
}

/** An empty argument is, as a rule, a variable of the shell that is not set. */
function refuseEmpty(command: Command, texts: readonly string[]): void {
  const at = texts.indexOf("");
  if (at < 0) return;
  const names = Object.values(command.arguments).map(({ value }) => value);
  const cause = `argument '${names[at] ?? names.at(-1) ?? ""}' is empty`;
  throw new RandloraError("usage", cause, "is a variable of the shell not set?");
}

function splitPositionals(command: Command, texts: readonly string[]): (readonly string[])[] {
  return Object.values(command.arguments).map((argument, index) =>
    argument.form === "variadic" || argument.form === "several" ? texts.slice(index) : texts.slice(index, index + 1),
  );
}

/** The error of a request for help with a command that does not exist: the parser would explain the whole program. */
function unknownWord(program: Program, words: readonly string[]): RandloraError | undefined {
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
  const hint = meant === undefined ? `one of: ${names.join(", ")}; see ${words} --help` : `did you mean ${meant}?`;
  return new RandloraError("usage", `unknown command '${word}'`, hint);
}

/** Turns the parser's "error: unknown option '--dtpye'\n(Did you mean --dtype?)" into a message and a hint. */
function usageError(program: Program, argv: readonly string[], error: CommanderError): RandloraError {
  if (error.code === "commander.help") return missingCommand(program, argv);
  const [, unknown] = /^error: unknown command '(.*)'/.exec(error.message) ?? [];
  if (unknown !== undefined) return unknownCommand(program, unknown, findGroup(program, argv));
  const [first = "", suggestion] = error.message.split("\n");
  const [, flag = ""] = /^error: unknown option '(--?[\w-]+)/.exec(first) ?? [];
  const known = allCommands(program).find(({ path }) => path.every((word, index) => argv[index] === word));
  const isFlag = Object.entries({ ...GLOBAL_OPTIONS, ...known?.command.options }).some(
    ([key, { form }]) => form === "flag" && `--${flagName(key)}` === flag,
  );
  if (isFlag) {
    const opposite = flag.startsWith("--no-") ? `--${flag.slice("--no-".length)}` : `--no-${flag.slice(2)}`;
    return new RandloraError("usage", `option '${flag}' takes no value`, `write ${flag}, or ${opposite}`);
  }
  const ours = optionOfOthers(flag, Object.keys(known?.command.options ?? {}).map(flagName));
  if (ours !== undefined) {
    return new RandloraError("usage", first.replace(/^error: /, ""), `did you mean --${ours}?`);
  }
  const hint = suggestion?.replace(/^\((.*)\)$/, "$1").replace("Did you mean", "did you mean");
  return new RandloraError("usage", first.replace(/^error: /, ""), hint ?? `see ${helpCommand(program, argv)}`);
}

function missingCommand(program: Program, argv: readonly string[]): RandloraError {
  const group = findGroup(program, argv);
  const names = (group?.commands ?? program.commands).map(({ name }) => name);
  const words = [program.name, ...(group === undefined ? [] : [group.name])].join(" ");
  return new RandloraError("usage", `${words}: no command given`, `one of: ${names.join(", ")}; see ${words} --help`);
}

function helpCommand(program: Program, argv: readonly string[]): string {
  const known = allCommands(program).find(({ path }) => path.every((word, index) => argv[index] === word));
  const entry = program.commands.find(({ name }) => argv.includes(name));
  return [program.name, ...(known?.path ?? (entry === undefined ? [] : [entry.name])), "--help"].join(" ");
}

function findGroup(program: Program, argv: readonly string[]): Group | undefined {
  return program.commands.find((entry): entry is Group => entry.kind === "group" && argv.includes(entry.name));
}
