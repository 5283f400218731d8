import { Command as Parser, CommanderError, Option as ParserOption } from "commander";
import { RandloraError } from "../../files/errors.ts";
import type { Argument, Command } from "./command.ts";
import { GLOBAL_OPTIONS } from "./globals.ts";
import { commandHelp, groupHelp, programHelp, type HelpStyle } from "./help.ts";
import { flagName, type Program } from "./names.ts";
import { InvalidValue, type Option } from "./option.ts";
import { missingCommand, unknownOption, unknownWord, usageError } from "./usage-error.ts";

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
  let request: Request | undefined;
  const given = new Map<string, string[]>();
  const output: string[] = [];

  const take = (key: string, option: Option<unknown>, text: string | undefined): void => {
    const word = text && glued(argv, option, text);
    if (word) throw unknownOption(program, argv, word);
    given.set(key, text === undefined ? [] : [...(given.get(key) ?? []), text]);
  };

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
    addOptions(parser, GLOBAL_OPTIONS, take);
    return parser;
  };

  const addCommand = (parent: Parser, path: readonly string[], command: Command): void => {
    const parser = prepare(new Parser(command.name), commandHelp(program, path, command, style));
    for (const argument of Object.values(command.arguments))
      parser.argument(argumentSyntax(argument.form, argument.value));
    addOptions(parser, command.options, take);
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

/** The word `-ngl` of another program, which the parser takes for `-n gl`; undefined where the value may be one. */
function glued(argv: readonly string[], option: Option<unknown>, text: string): string | undefined {
  const word = `-${option.short}${text}`;
  if (option.short === "" || !/^[a-z]/i.test(text) || !argv.includes(word)) return undefined;
  try {
    option.read([text]);
    return undefined;
  } catch (error) {
    if (error instanceof InvalidValue) return word.replace(/=.*/s, "");
    throw error;
  }
}

function addOptions(
  parser: Parser,
  options: Readonly<Record<string, Option<unknown>>>,
  take: (key: string, option: Option<unknown>, text: string | undefined) => void,
): void {
  for (const [key, option] of Object.entries(options)) {
    const name = flagName(key);
    const short = option.short === "" ? "" : `-${option.short}, `;
    const value = { flag: "", value: " <value>", optional: " [value]" }[option.form];
    parser.addOption(new ParserOption(`${short}--${name}${value}`));
    const add = (text: string | undefined): void => take(key, option, text);
    parser.on(`option:${name}`, (text?: string | null) => add(option.form === "flag" ? "true" : (text ?? undefined)));
    if (option.alias !== "") {
      parser.addOption(new ParserOption(`--${flagName(option.alias)}${value}`).hideHelp());
      parser.on(`option:${flagName(option.alias)}`, (text?: string | null) => add(text ?? undefined));
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
