/*
 * The keys of `--json`, read from the interfaces that say `@json COMMAND` in their doc comment: a line each, as oxfmt writes them.
 */

/** A key and what its doc comment says. */
export interface Key {
  readonly name: string;
  /** What `keys` are of: its value, each of a list, or each by name. */
  readonly holds: "one" | "list" | "record";
  readonly isOptional: boolean;
  readonly help: string;
  /** Of objects within, as far as they are known. */
  readonly keys: readonly Key[];
}

/** What one command prints: `finetune --dry-run`, or `several` for keys that several commands print. */
export interface JsonType {
  readonly command: string;
  readonly keys: readonly Key[];
  /** Interfaces of `several` that it has as well. */
  readonly extended: readonly JsonType[];
}

interface Declared {
  readonly file: string;
  readonly command: string | undefined;
  readonly bases: readonly string[];
  /** Lines of the body. */
  readonly body: readonly string[];
}

/** The interfaces of a program, by name; of several with one name, that of the same file is meant. */
type Interfaces = ReadonlyMap<string, readonly Declared[]>;

const HEAD =
  /(?:^\/\*\*((?:(?!\*\/)[^])*)\*\/\n)?^(?:export )?interface (\w+)(?: extends ([\w, ]+))? \{\n([^]*?)^\}$/gm;

/** @param sources file names and texts */
export function jsonTypes(sources: Iterable<readonly [string, string]>): readonly JsonType[] {
  const declared = [...sources].flatMap(([file, text]) =>
    [...text.matchAll(HEAD)].map(([, comment = "", name = "", bases = "", body = ""]) => {
      const command = /@json (.+?)(?: \*\/)?\s*$/m.exec(comment)?.[1];
      return { name, file, command, bases: bases.split(", ").filter((base) => base !== ""), body: body.split("\n") };
    }),
  );
  const all: Interfaces = Map.groupBy(declared, ({ name }) => name);
  return declared.flatMap((one) => (one.command === undefined ? [] : [jsonType(one, one.command, all)]));
}

function jsonType(one: Declared, command: string, all: Interfaces): JsonType {
  const bases = one.bases.map((base) => named(base, one.file, all));
  return {
    command,
    keys: [
      ...bases.flatMap((base) => (base.command === undefined ? keysOf(base, all) : [])),
      ...keysIn(one.body, one.file, all),
    ],
    extended: bases.flatMap((base) => (base.command === undefined ? [] : [jsonType(base, base.command, all)])),
  };
}

/** Its own keys, and those of what it extends. */
function keysOf({ bases, body, file }: Declared, all: Interfaces): Key[] {
  return [...bases.flatMap((base) => keysOf(named(base, file, all), all)), ...keysIn(body, file, all)];
}

function named(name: string, file: string, all: Interfaces): Declared {
  const found = all.get(name) ?? [];
  const one = found.find((other) => other.file === file) ?? (found.length === 1 ? found[0] : undefined);
  if (one !== undefined) return one;
  throw new Error(`${file}: ${found.length} interfaces are called ${name}`);
}

/** Reads lines of a body up to the brace that closes it. @throws {Error} for what no interface of a report has */
function keysIn(body: readonly string[], file: string, all: Interfaces): Key[] {
  const keys: Key[] = [];
  const lines = body.map((line) => line.trim()).filter((line) => line !== "");
  let help = "";
  for (let at = 0; at < lines.length; at++) {
    let line = lines[at] ?? "";
    if (line.startsWith("/**")) {
      while (!line.endsWith("*/")) line += ` ${(lines[++at] ?? "").replace(/^\*(?!\/) ?/, "")}`;
      help = line.replace(/^\/\*\* ?/, "").replace(/ ?\*\/$/, "");
      continue;
    }
    while (!/[;{]$/.test(line)) line += ` ${lines[++at] ?? ""}`;
    const [, name, optional = "", type = ""] = /^readonly (\w+)(\??): (.+)$/.exec(line) ?? [];
    if (name === undefined) throw new Error(`${file}: no key of a report: ${line}`);
    const holds = type.startsWith("readonly ") ? "list" : type.startsWith("Readonly<Record") ? "record" : "one";
    const own = { name, holds, isOptional: optional !== "", help: help === "" ? wordsOf(type) : help } as const;
    help = "";
    if (type.endsWith("{")) {
      const from = at + 1;
      for (let depth = 1; depth > 0; at++) depth += braces(lines[at + 1] ?? "}");
      keys.push({ ...own, keys: keysIn(lines.slice(from, at), file, all) });
      continue;
    }
    const [, other = ""] = /^(?:readonly |Readonly<Record<string, )?(\w+)(?:\[\]|>>)?;$/.exec(type) ?? [];
    keys.push({ ...own, keys: all.has(other) ? keysOf(named(other, file, all), all) : [] });
  }
  return keys;
}

function braces(line: string): number {
  if (line.startsWith("/**")) return 0;
  return [...line].reduce((depth, letter) => depth + (letter === "{" ? 1 : letter === "}" ? -1 : 0), 0);
}

/** What a type of a few words says of itself: `"done" | "interrupted"`. */
function wordsOf(type: string): string {
  const words = type.replace(/;$/, "").split(" | ");
  if (!words.every((word) => /^(?:".*"|null)$/.test(word)) || words.length === 1) return "";
  return `${words.map((word) => word.replaceAll('"', "")).join(", ")}.`;
}
