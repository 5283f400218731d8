import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, dirname, extname, relative } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { naming, oneLine } from "../../files/failure.ts";
import { parseHubName } from "../../files/hub/name.ts";

/** How `datasets` and the Hub number the files of a split: `train-00000-of-00005.parquet`; older names end with a hash. */
const SHARD = /^(.+)-(\d{5})-of-(\d{5})(?:-[0-9a-f]{16})?(\.\w+)$/;
/** The address of a dataset, as far as `resolve` leaves it one. */
const ADDRESS = /^(?:(?:https?:\/+)?(?:www\.)?(?:huggingface\.co|hf\.co)|hf:)\/+datasets\/([^/]+\/[^/]+)/;

/** The split that a file is named after: of `train-00000-of-00005.parquet` and of `train.jsonl` it is `train`. */
export function splitNameOf(path: string): string {
  return SHARD.exec(basename(path))?.[1] ?? basename(path, extname(path));
}

/** Is it one of several files of a split, by its name? */
export function isShard(path: string): boolean {
  return SHARD.test(basename(path));
}

/** What several files are called in a message. */
export function nameOf([first = "", ...more]: readonly string[]): string {
  return oneLine(first) + (more.length === 0 ? "" : ` and ${more.length} more`);
}

/** @throws {RandloraError} `data` where shards are missing that the names of the others promise, or are of two sets */
export function checkShards(shards: readonly string[]): void {
  const [first = ""] = shards;
  const parts = shards.map((path) => (SHARD.exec(basename(path)) ?? []).slice(2).map(Number));
  const counts = new Set(parts.map(([, count]) => count));
  const fail = (problem: string, hint: string): never => {
    throw new RandloraError("data", `${oneLine(first)}: ${problem}`, hint);
  };
  if (counts.size > 1) fail(`shards of ${[...counts].join(" and of ")} beside each other`, "remove those of one set");
  const [count = 0] = counts;
  const there = new Set(parts.map(([index]) => index));
  if (there.size < parts.length) fail("a shard is there under two names", "remove one");
  const missing = Array.from({ length: count }, (_, index) => index).filter((index) => !there.has(index));
  const [absent = 0] = missing;
  const name = basename(first).replace(SHARD, `$1-${String(absent).padStart(5, "0")}-of-$3$4`);
  if (missing.length > 0)
    fail(`${missing.length} of ${count} shards are missing, the first: ${name}`, "fetch the set again");
}

/**
 * The file or folder at a path, or all files that match it where it is a pattern (`data/train-*.parquet`), in the order of their
 * names.
 *
 * @throws {RandloraError} `file` where nothing is there; with how to fetch it where the path looks like a dataset of the Hub
 */
export async function filesAt(path: string): Promise<readonly string[]> {
  if (existsSync(path)) return [path];
  if (!/[*?[{]/.test(path)) {
    const id = datasetIn(path);
    const how = `hf download ${id} --repo-type dataset --local-dir ${basename(id ?? "")}`;
    const hint =
      id === undefined ? "check the path" : `files and folders are read: download a dataset first, with ${how}`;
    throw new RandloraError("file", `cannot read ${oneLine(path)}: no such file or folder`, hint);
  }
  const pattern = process.platform === "win32" ? path.replaceAll("\\", "/") : path;
  // Files of the Hub's cache are links.
  const scan = new Bun.Glob(pattern).scan({ absolute: true, onlyFiles: false });
  const files: string[] = [];
  for (const file of await naming(path, "read", Array.fromAsync(scan))) {
    if (!(await naming(file, "read", stat(file))).isDirectory()) files.push(file);
  }
  if (files.length > 0) return files.toSorted();
  throw new RandloraError("file", `${oneLine(path)}: no file matches this pattern`, "check the path");
}

/** The dataset of the Hub that a path that is not there may mean. */
function datasetIn(path: string): string | undefined {
  const typed = relative("", path);
  const name = ADDRESS.exec(typed)?.[1] ?? typed;
  const isPath = existsSync(dirname(path)) || [".parquet", ".csv", ".tsv", ".txt"].includes(extname(path));
  return isPath ? undefined : parseHubName(name)?.repo;
}
