/*
 * Writes docs/interface/commands.md: every command's usage, options, JSON keys, and the server's endpoints, as the program has them.
 */
import { join } from "node:path";
import { program } from "../cmd/main.ts";
import { ENDPOINTS } from "../src/chat/serve/endpoints.ts";
import type { Command } from "../src/terminal/options/command.ts";
import { GLOBAL_OPTIONS } from "../src/terminal/options/globals.ts";
import { usageOf } from "../src/terminal/options/help.ts";
import { allCommands, flagName } from "../src/terminal/options/names.ts";
import type { Option } from "../src/terminal/options/option.ts";
import { type JsonType, jsonTypes, type Key } from "./json-types.ts";

const ROOT = join(import.meta.dir, "..");

/** The page, from the root. */
export const PAGE = "docs/interface/commands.md";

const COLUMNS = 120;
/** Left column of the lists. */
const LEFT = 30;

/** A line of a list: what it is called, and what there is to say of it. */
interface Entry {
  readonly name: string;
  readonly help: string;
}

/** What `--json` prints, by command. */
export async function reports(): Promise<readonly JsonType[]> {
  return jsonTypes(await sources());
}

/** The text of the page. */
export async function commandsPage(): Promise<string> {
  const types = await reports();
  const shown = new Map<string, Shown>();
  const sections = allCommands(program).map(({ path, command }) => commandSection(path, command, types, shown));
  const unknown = types.filter(({ command }) => command !== "several" && ofCommand(command) === undefined);
  if (unknown.length > 0) throw new Error(`@json of no command: ${unknown.map(({ command }) => command).join("; ")}`);
  const several = types.filter(({ command }) => command === "several").flatMap(({ keys }) => keys);
  return [
    INTRODUCTION,
    section("Every command", [
      list(
        Object.entries(GLOBAL_OPTIONS).map(([key, option]) => {
          return { name: optionName(key, option), help: withDefault({ help: option.help, absent: option.absentText }) };
        }),
      ),
    ]),
    ...sections,
    section("Endpoints of serve", [list(Object.entries(ENDPOINTS).map(([name, help]) => ({ name, help })))]),
    section("JSON keys of several commands", [list(several.flatMap((key) => keyEntries(key)))]),
  ].join("\n");
}

const INTRODUCTION = `# Commands

<!-- scripts/interface.ts writes this page: npm run docs -->

Usage, options, and the keys that \`--json\` prints, as the program has them; what they mean together stands in
[the interface](../interface.md). Square brackets hold the default. What works as in a command above is only named. \`…\`:
may be given several times; \`?\`: the key may be missing. Keys are null where there is nothing to say.
`;

function commandSection(
  path: readonly string[],
  command: Command,
  types: readonly JsonType[],
  shown: Map<string, Shown>,
): string {
  const name = path.join(" ");
  const same = allCommands(program).find((one) => one.command.summary === command.summary);
  if (same !== undefined && same.command !== command) return `## ${name}\n\nAs \`${same.path.join(" ")}\`.\n`;
  const parts = [`${usageOf(program, path, command)}\n`];
  const told: Told[] = [
    ...Object.values(command.arguments).map(({ value, help }) => {
      return { topic: "Arguments", short: value, name: value, help, absent: "" };
    }),
    ...Object.entries(command.options).map(([key, option]) => {
      const { help, topic, absentText: absent } = option;
      return { topic, short: `--${flagName(key)}`, name: optionName(key, option), help, absent };
    }),
  ];
  const known = new Map<string, string[]>();
  const topics = new Map<string, Entry[]>();
  for (const one of told) {
    const text = `${one.name} ${one.help}`;
    const before = shown.get(text);
    if (before === undefined) {
      shown.set(text, { command: name, absent: one.absent });
      topics.set(one.topic, [...(topics.get(one.topic) ?? []), { name: one.name, help: withDefault(one) }]);
    } else {
      const short = one.absent === before.absent ? one.short : withDefault({ help: one.short, absent: one.absent });
      known.set(before.command, [...(known.get(before.command) ?? []), short]);
    }
  }
  for (const entries of topics.values()) parts.push(list(entries));
  parts.push(list([...known].map(([before, names]) => ({ name: `As ${before}:`, help: shortest(before, names) }))));
  for (const type of types.filter(({ command: of }) => ofCommand(of) === name)) {
    const also = type.extended.flatMap(({ keys }) => keys.map((key) => keyName(key)));
    const title = `JSON${conditionOf(type.command, name)}:`;
    parts.push(list([{ name: title, help: also.join(" ") }, ...type.keys.flatMap((key) => keyEntries(key))]));
  }
  return section(name, [command.summary, parts.filter((part) => part !== "").join("\n")]);
}

/** What is as in another command, or what of that is not: whichever is less to read. */
function shortest(before: string, names: readonly string[]): string {
  const of = allCommands(program).find(({ path }) => path.join(" ") === before)?.command;
  const others = Object.keys(of?.options ?? {})
    .map((key) => `--${flagName(key)}`)
    .filter((flag) => !names.includes(flag));
  if (others.length + 4 > names.length) return names.join(" ");
  return [...names.filter((name) => !name.startsWith("--")), "and all options but", ...others].join(" ");
}

/** Where an option was first explained, with which default. */
interface Shown {
  readonly command: string;
  readonly absent: string;
}

/** An argument or an option, with the name that tells it from the command's others. */
interface Told {
  readonly topic: string;
  readonly short: string;
  readonly name: string;
  readonly help: string;
  /** What an option is where nobody says. */
  readonly absent: string;
}

/** `runs[]`, `quantized?`. */
function keyName({ name, holds, isOptional }: Key): string {
  return `${name}${holds === "list" ? "[]" : ""}${isOptional ? "?" : ""}`;
}

/** A key's line, and those of keys within it, indented. */
function keyEntries(key: Key, indent = ""): Entry[] {
  const within = key.keys.flatMap((other) => keyEntries(other, `${indent}  `));
  return [{ name: indent + keyName(key), help: key.help }, ...within];
}

function withDefault({ help, absent }: Pick<Told, "help" | "absent">): string {
  return absent === "" ? help : `${help} [${absent}]`;
}

/** `-o, --out PATH`. */
function optionName(key: string, { short, form, value, repeatable }: Option<unknown>): string {
  const given = { flag: "", value: ` ${value}`, optional: ` [${value}]` }[form];
  return `${short === "" ? "" : `-${short}, `}--${flagName(key)}${given}${repeatable ? " …" : ""}`;
}

/** The command that a `@json` speaks of: `finetune` of `finetune --dry-run`. */
function ofCommand(text: string): string | undefined {
  const names = allCommands(program).map(({ path }) => path.join(" "));
  return names.find((name) => text === name || text.startsWith(`${name} `));
}

/** ` with --dry-run`, ` (adapter)`. */
function conditionOf(text: string, name: string): string {
  const rest = text.slice(name.length).trim();
  return rest.startsWith("--") ? ` with ${rest}` : rest === "" ? "" : ` ${rest}`;
}

function section(title: string, [first = "", second]: readonly string[]): string {
  const block = second ?? first;
  return `## ${title}\n\n${second === undefined ? "" : `${first}.\n\n`}\`\`\`text\n${block}\`\`\`\n`;
}

/** Names in one column, help in another. */
function list(entries: readonly Entry[]): string {
  const indent = " ".repeat(LEFT);
  return entries
    .map(({ name, help }) => {
      if (help === "") return `${name}\n`;
      const lines = Bun.wrapAnsi(help, COLUMNS - LEFT).split("\n");
      const head = Bun.stringWidth(name) > LEFT - 2 ? `${name}\n${indent}` : name.padEnd(LEFT);
      return `${head}${lines.map((line) => line.trimEnd()).join(`\n${indent}`)}\n`;
    })
    .join("");
}

async function sources(): Promise<[string, string][]> {
  const files = ["cmd/*.ts", "src/**/*.ts"].flatMap((pattern) => [...new Bun.Glob(pattern).scanSync(ROOT)]).toSorted();
  const own = files.filter((file) => !/\.test\.ts$|\/testing\//.test(file));
  return await Promise.all(
    own.map(async (file): Promise<[string, string]> => [file, await Bun.file(join(ROOT, file)).text()]),
  );
}

if (import.meta.main) await Bun.write(join(ROOT, PAGE), await commandsPage());
