import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cacheFolder } from "../../files/cache-folder.ts";
import { isJsonObject } from "../../files/json.ts";
import { besides } from "../../files/whole-file.ts";

/** Standard deviations of the whole of A and B as drawn, in the drawn dtype. */
export interface StdPair {
  readonly a: number;
  readonly b: number;
}

/** Remembers the standard deviations of whole bases, which cost a pass over every element. */
export interface StdCache {
  get(key: string): StdPair | null;
  /** `elements` says how much drawing the pair saves. */
  set(key: string, stds: StdPair, elements: number): void;
}

/** Pairs that are drawn again faster than a file is written stay in memory. */
const WORTH_A_FILE = 1 << 22;
const VERSION = 1;

function isStd(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value > 0;
}

/** The pairs in a cache file's text; anything that does not look like one is left out. */
function parse(text: string): Map<string, StdPair> {
  const pairs = new Map<string, StdPair>();
  const root: unknown = JSON.parse(text);
  if (!isJsonObject(root) || root["version"] !== VERSION || !isJsonObject(root["stds"])) return pairs;
  for (const [key, value] of Object.entries(root["stds"])) {
    if (isJsonObject(value) && isStd(value["a"]) && isStd(value["b"])) pairs.set(key, { a: value["a"], b: value["b"] });
  }
  return pairs;
}

/** A cache in memory and, for large bases, in a JSON file. A file that cannot be read or written is as good as none. */
export class FileStdCache implements StdCache {
  readonly path: string;
  readonly #memory = new Map<string, StdPair>();
  #read = false;

  /** @param path the JSON file; it and its folder need not exist. */
  constructor(path: string) {
    this.path = path;
  }

  get(key: string): StdPair | null {
    const found = this.#memory.get(key);
    if (found !== undefined) return found;
    if (!this.#read) {
      this.#read = true;
      for (const [name, pair] of this.#load()) if (!this.#memory.has(name)) this.#memory.set(name, pair);
    }
    return this.#memory.get(key) ?? null;
  }

  set(key: string, stds: StdPair, elements: number): void {
    this.#memory.set(key, stds);
    if (elements >= WORTH_A_FILE) this.#save(key, stds);
  }

  #load(): Map<string, StdPair> {
    try {
      return parse(readFileSync(this.path, "utf8"));
    } catch {
      return new Map();
    }
  }

  /** Adds a pair to what the file holds now (another process may have added its own), under its name only when whole. */
  #save(key: string, stds: StdPair): void {
    const temporary = besides(this.path);
    try {
      const pairs = this.#load().set(key, stds);
      mkdirSync(dirname(this.path), { recursive: true });
      writeFileSync(temporary, `${JSON.stringify({ version: VERSION, stds: Object.fromEntries(pairs) }, null, 1)}\n`);
      renameSync(temporary, this.path);
    } catch {
      try {
        rmSync(temporary, { force: true });
      } catch {
        // The cache saves time and nothing else.
      }
    }
  }
}

/** `std.json` in the program's cache folder. */
export function stdCachePath(environment?: Readonly<Record<string, string | undefined>>): string {
  return join(cacheFolder(environment), "std.json");
}

const caches = new Map<string, FileStdCache>();

/** The process's cache in the user's cache folder. */
export function userStdCache(): StdCache {
  const path = stdCachePath();
  const cache = caches.get(path) ?? new FileStdCache(path);
  caches.set(path, cache);
  return cache;
}
