import { nearest } from "../../files/nearest.ts";

/** A command of the chat: what a line that begins with a slash asks for. */
export interface ChatCommand<T> {
  /** Without the slash. */
  readonly name: string;
  /** Other names that people try. */
  readonly also?: readonly string[];
  /** What may follow it: `FILE`, `[TEXT]`. */
  readonly value?: string;
  readonly help: string;
  /** @param value what follows the name, without space around it; empty when nothing does */
  run(chat: T, value: string): Promise<void> | void;
}

/** What a line of the user's is: something to say, or a command. */
export type ChatLine<T> =
  | { readonly kind: "message"; readonly text: string }
  | { readonly kind: "command"; readonly command: ChatCommand<T>; readonly value: string }
  | { readonly kind: "unknown"; readonly name: string; readonly meant: string | undefined };

/** Reads a line. `//` at the beginning is a slash that belongs to the message. */
export function readLine<T>(line: string, commands: readonly ChatCommand<T>[]): ChatLine<T> {
  if (!line.startsWith("/") || line.startsWith("//")) {
    return { kind: "message", text: line.startsWith("//") ? line.slice(1) : line };
  }
  const [, name = "", value = ""] = /^\/(\S*)\s*([\s\S]*)$/.exec(line) ?? [];
  const command = findCommand(name, commands);
  if (command !== undefined) return { kind: "command", command, value: value.trim() };
  const meant = nearest(
    name,
    commands.map((known) => known.name),
  );
  return { kind: "unknown", name, meant };
}

/** The command of this name, one that people try among them. */
export function findCommand<T>(name: string, commands: readonly ChatCommand<T>[]): ChatCommand<T> | undefined {
  return commands.find((known) => known.name === name || known.also?.includes(name) === true);
}

/** `/help`: a row for each command. */
export function helpRows<T>(commands: readonly ChatCommand<T>[]): string[][] {
  return commands.map(({ name, value, help }) => [`/${name}${value === undefined ? "" : ` ${value}`}`, help]);
}
