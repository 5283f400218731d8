import { readdirSync } from "node:fs";
import type { Completion } from "../../terminal/editor/completion.ts";
import { type ChatCommand, findCommand } from "./command.ts";

/** What Tab offers before the cursor: names of commands, and what may follow one, words and files. */
export function completeLine<T>(before: string, commands: readonly ChatCommand<T>[]): Completion {
  const [, name = "", gap, given = ""] = /^\/(\S*)(\s+)?([^\n]*)$/.exec(before) ?? [];
  if (!before.startsWith("/") || before.startsWith("//") || before.includes("\n")) return { from: 0, candidates: [] };
  if (gap === undefined) {
    const known = commands.filter((command) => command.name.startsWith(name));
    const candidates = known.map((command) => (command.value === undefined ? command.name : `${command.name} `));
    return { from: 1, candidates };
  }
  const values = findCommand(name, commands)?.value?.match(/[A-Za-z]+/g) ?? [];
  const words = values.filter((value) => value === value.toLowerCase() && value.startsWith(given));
  const files = values.some((value) => value === "FILE" || value === "PATH") ? filesAt(given) : [];
  return { from: before.length - given.length, candidates: [...words, ...files] };
}

/** Paths that begin so; folders end with a slash. */
function filesAt(begun: string): string[] {
  const folder = begun.slice(0, begun.lastIndexOf("/") + 1);
  const name = begun.slice(folder.length);
  try {
    const entries = readdirSync(folder === "" ? "." : folder, { withFileTypes: true });
    const fitting = entries.filter((entry) => entry.name.startsWith(name) && (name !== "" || entry.name[0] !== "."));
    return fitting.map((entry) => `${folder}${entry.name}${entry.isDirectory() ? "/" : ""}`).toSorted();
  } catch {
    return [];
  }
}
