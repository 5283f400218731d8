import { appendFileSync, chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { besides } from "../../files/whole-file.ts";

/** Entries that are kept. */
const MOST_ENTRIES = 1000;
/** Longer texts (a pasted book) are remembered while the program runs, not beyond. */
const LONGEST_KEPT = 64 * 1024;
/** The file is written anew when it is larger than this, or has twice the entries. */
const LARGEST_FILE = 4 * 2 ** 20;

/** Where what was typed is kept: `$XDG_STATE_HOME` or `~/.local/state`, as the XDG base directories have it. */
export function historyFile(environment: Readonly<Record<string, string | undefined>>): string {
  const state = environment["XDG_STATE_HOME"] ?? "";
  // A relative path there is to be ignored, says the specification.
  const folder = state.startsWith("/") ? state : join(homedir(), ".local", "state");
  return join(folder, "randlora", "history");
}

/**
 * What was typed before, the oldest first, kept in a file that only its owner can read: one JSON string a line, so that
 * texts of several lines are one entry. A history that cannot be read or written is one for this run only: nobody's chat
 * fails because of it.
 */
export class History {
  readonly #path: string | undefined;
  readonly #entries: string[];

  private constructor(path: string | undefined, entries: string[]) {
    this.#path = path;
    this.#entries = entries;
  }

  /** @param path the file; without one nothing is kept */
  static load(path?: string): History {
    const { entries, stale } = path === undefined ? { entries: [], stale: false } : read(path);
    if (stale && path !== undefined) ignoringFailure(() => rewrite(path, entries));
    return new History(path, entries);
  }

  get entries(): readonly string[] {
    return this.#entries;
  }

  /** Adds a text; empty ones and repetitions of the last are not worth it. */
  add(text: string): void {
    if (text.trim() === "" || text === this.#entries.at(-1)) return;
    this.#entries.push(text);
    if (this.#entries.length > MOST_ENTRIES) this.#entries.shift();
    const path = this.#path;
    if (path === undefined || text.length > LONGEST_KEPT) return;
    ignoringFailure(() => {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      // One write at the end of the file: two chats at once do not tear each other's lines.
      appendFileSync(path, `${JSON.stringify(text)}\n`, { mode: 0o600 });
    });
  }
}

function read(path: string): { entries: string[]; stale: boolean } {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return { entries: [], stale: false };
  }
  const lines = text.split("\n").filter((line) => line !== "");
  const entries = lines.slice(-MOST_ENTRIES).flatMap((line) => {
    const entry = parseLine(line);
    return entry === undefined ? [] : [entry];
  });
  return { entries, stale: lines.length > 2 * MOST_ENTRIES || text.length > LARGEST_FILE };
}

/** A line that is no JSON string (a torn write, someone's editor) is passed over. */
function parseLine(line: string): string | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Replaces the file in one step. Entries go from the oldest on until the file is small enough. */
function rewrite(path: string, entries: readonly string[]): void {
  const lines = entries.map((entry) => `${JSON.stringify(entry)}\n`);
  let size = lines.reduce((sum, line) => sum + line.length, 0);
  let first = 0;
  for (; size > LARGEST_FILE / 2 && first < lines.length; first++) size -= lines[first]?.length ?? 0;
  const part = besides(path);
  try {
    writeFileSync(part, lines.slice(first).join(""), { mode: 0o600 });
    chmodSync(part, 0o600);
    renameSync(part, path);
  } finally {
    rmSync(part, { force: true });
  }
}

function ignoringFailure(action: () => void): void {
  try {
    action();
  } catch {
    // see the class's comment
  }
}
