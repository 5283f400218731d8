import type { Command, Group } from "./command.ts";
import { GLOBAL_OPTIONS } from "./globals.ts";
import { flagName, type Place, type Program } from "./names.ts";
import type { Option } from "./option.ts";

/** How help looks: the width to fill and how to mark headings and asides (identity functions without color). */
export interface HelpStyle {
  readonly columns: number;
  bold(text: string): string;
  dim(text: string): string;
}

/** Left column of the lists; longer entries push their text to the next line. */
const LEFT = 26;
const MAX_COLUMNS = 110;

/** `randlora --help`. */
export function programHelp(program: Program, style: HelpStyle): string {
  const commands = program.commands.map(({ name, summary }) => entry(name, summary, "", style));
  return sections([
    program.summary,
    `Usage: ${program.name} COMMAND …   (${program.name} COMMAND --help tells more)`,
    example(program.example, style),
    list("Commands", commands, style),
    optionList("Everywhere", GLOBAL_OPTIONS, style),
    paragraph(OTHER_SOURCES, style),
    paragraph(EXIT_STATUSES, style),
  ]);
}

/** `randlora cache --help`. */
export function groupHelp(program: Program, group: Group, style: HelpStyle): string {
  const commands = group.commands.map(({ name, summary }) => entry(name, summary, "", style));
  const first = group.commands[0];
  return sections([
    group.summary,
    `Usage: ${program.name} ${group.name} COMMAND …`,
    first === undefined ? "" : example(first.example, style),
    list("Commands", commands, style),
  ]);
}

/**
 * `randlora merge --help`: what it is, the usage, an example, then the options by topic with defaults.
 * @param isWhole whether options that few people need, and those of every command, are explained, too
 */
export function commandHelp(
  { program, path }: Pick<Place, "program" | "path">,
  command: Command,
  isWhole: boolean,
  style: HelpStyle,
): string {
  const hidden = isWhole ? [] : command.hidden;
  const globals = Object.keys(GLOBAL_OPTIONS).map((key) => `--${flagName(key)}`);
  const positionals = Object.values(command.arguments);
  const shown = Object.entries(command.options).filter(([key]) => !hidden.includes(key));
  const topics = Map.groupBy(shown, ([, option]) => option.topic);
  return sections([
    command.summary,
    `Usage: ${usageOf(program, path, command)} [options]`,
    example(command.example, style),
    list(
      "Arguments",
      positionals.map(({ value, help }) => entry(value, help, "", style)),
      style,
    ),
    ...[...topics].map(([topic, options]) => optionList(topic, Object.fromEntries(options), style)),
    isWhole
      ? optionList("Everywhere", GLOBAL_OPTIONS, style)
      : paragraph(`Everywhere: ${globals.join(", ")}: see ${program.name} --help.`, style),
    hidden.length === 0 ? "" : paragraph(`--help-all shows ${hidden.length} more options.`, style),
    paragraph(OTHER_SOURCES, style),
  ]);
}

const OTHER_SOURCES = `Options can also be set in the environment and in randlora.yaml: --max-tokens 100 is RANDLORA_MAX_TOKENS=100 and "max-tokens: 100".`;

const EXIT_STATUSES =
  "Exit status: 0 done; 1 failed, may work another time; 2 wrong usage; 3 refused, trying again is useless (bad data, a model or adapter that is not supported).";

/** `randlora merge BASE ADAPTER…`. */
export function usageOf(program: Program, path: readonly string[], command: Command): string {
  const words = Object.values(command.arguments).map(
    ({ value, form }) =>
      ({ required: value, optional: `[${value}]`, variadic: `${value}…`, several: `[${value}…]` })[form],
  );
  return [program.name, ...path, ...words].join(" ");
}

function optionList(title: string, options: Readonly<Record<string, Option<unknown>>>, style: HelpStyle): string {
  const entries = Object.entries(options).map(([key, option]) => {
    const short = option.short === "" ? "" : `-${option.short}, `;
    const value = { flag: "", value: ` ${option.value}`, optional: ` [${option.value}]` }[option.form];
    const more = option.repeatable ? " …" : "";
    const aside = option.absentText === "" ? "" : `[default: ${option.absentText}]`;
    return entry(`${short}--${flagName(key)}${value}${more}`, option.help, aside, style);
  });
  return list(title, entries, style);
}

function example(line: string, style: HelpStyle): string {
  return `${style.bold("Example:")}\n  ${line}`;
}

function list(title: string, entries: readonly string[], style: HelpStyle): string {
  return entries.length === 0 ? "" : [style.bold(`${title}:`), ...entries].join("\n");
}

function entry(left: string, help: string, aside: string, style: HelpStyle): string {
  const width = Math.max(24, Math.min(style.columns, MAX_COLUMNS) - LEFT - 2);
  const lines = Bun.wrapAnsi(aside === "" ? help : `${help} ${style.dim(aside)}`, width).split("\n");
  const indent = " ".repeat(LEFT + 2);
  const gap = LEFT - Bun.stringWidth(left);
  const head = gap >= 2 ? `  ${left}${" ".repeat(gap)}` : `  ${left}\n${indent}`;
  return head + lines.join(`\n${indent}`);
}

function paragraph(text: string, { columns }: HelpStyle): string {
  return Bun.wrapAnsi(text, Math.min(columns, MAX_COLUMNS));
}

function sections(parts: readonly string[]): string {
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}
