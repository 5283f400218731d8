import { RandloraError } from "../../files/errors.ts";
import type { Chat } from "./chat.ts";
import { type ChatCommand, findCommand, readLine } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { readdirSync } from "node:fs";
import type { Completion } from "../../terminal/editor/line-editor.ts";

/**
 * Talks until the user leaves: `/exit`, Ctrl-D, Ctrl-C twice, or a signal.
 * @returns how it ended: "interrupted" after Ctrl-C twice
 */
export async function runChat(chat: Chat): Promise<"left" | "interrupted"> {
  const prompt = { first: chat.style.bold("> "), next: chat.style.dim("· ") };
  const complete = (before: string) => completeLine(before, COMMANDS);
  while (!chat.leaving && !chat.signal.aborted) {
    const answer = await chat.editor.read(prompt, chat.signal, complete);
    if (answer.kind === "end") return "left";
    if (answer.kind === "cancelled") {
      if (chat.interrupted && answer.text === "") return "interrupted";
      chat.interrupted = true;
      chat.note("(Ctrl-C again leaves; so do Ctrl-D and /exit)");
      continue;
    }
    chat.interrupted = false;
    if (answer.text.trim() !== "") await obey(chat, answer.text);
  }
  return chat.interrupted ? "interrupted" : "left";
}

/** Runs a command, or answers a message. What fails is explained. */
async function obey(chat: Chat, text: string): Promise<void> {
  const line = readLine(text, COMMANDS);
  try {
    if (line.kind === "command") await line.command.run(chat, line.value);
    else if (line.kind === "message") await chat.answer((options) => chat.session.say(line.text, options));
    else {
      const meant = line.meant === undefined ? "/help shows the commands" : `did you mean /${line.meant}?`;
      chat.explain(new RandloraError("usage", `there is no /${line.name}; ${meant}`));
    }
  } catch (error) {
    chat.explain(error);
  }
}

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
