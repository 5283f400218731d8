import type { Command, Group } from "./command.ts";

/** `maxShardSize` → `max-shard-size`: how an option is spelled on the command line and in a configuration file. */
export function flagName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `maxShardSize` → `RANDLORA_MAX_SHARD_SIZE`. */
export function environmentName(key: string): string {
  return `RANDLORA_${flagName(key).replaceAll("-", "_").toUpperCase()}`;
}

/** The whole program: what `randlora --help` describes. */
export interface Program {
  readonly name: string;
  readonly version: string;
  readonly summary: string;
  readonly example: string;
  readonly commands: readonly (Command | Group)[];
}

/** Every command with the words that call it: `["cache", "list"]`. */
export function allCommands(program: Program): { readonly path: readonly string[]; readonly command: Command }[] {
  return program.commands.flatMap((entry) =>
    entry.kind === "command"
      ? [{ path: [entry.name], command: entry }]
      : entry.commands.map((command) => ({ path: [entry.name, command.name], command })),
  );
}
