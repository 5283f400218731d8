import { type BigIntStats, existsSync } from "node:fs";
import { lstat, open, readdir, rm, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { RandloraError } from "./errors.ts";
import { fileError, oneLine, systemCode } from "./failure.ts";

/** What is at `path`, without following a symbolic link; `undefined` for nothing. */
export async function found(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (thrown) {
    if (systemCode(thrown) === "ENOENT") return undefined;
    throw fileError(thrown, path, "write");
  }
}

/**
 * Refuses what has no room on the disk, before a byte of it is written.
 * @param path what is to be written
 * @param free bytes that the disk of a folder has left; undefined where it does not say
 * @throws RandloraError `file`
 */
export async function requireSpace(path: string, needed: number, free = freeBytes): Promise<void> {
  const left = (await free(dirname(path))) ?? Infinity;
  if (needed <= left) return;
  const size = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
  const cause = `${oneLine(path)}: it takes ${size(needed)}, and the disk has ${size(left)} free`;
  throw new RandloraError("file", cause, "free some space, or write to another disk");
}

async function freeBytes(folder: string): Promise<number | undefined> {
  // A folder that is yet to be made lies where the nearest one above it does.
  if (!existsSync(folder) && dirname(folder) !== folder) return await freeBytes(dirname(folder));
  const { blocks, bavail, bsize } = await statfs(folder).catch(() => ({ blocks: 0, bavail: 0, bsize: 0 }));
  return blocks === 0 ? undefined : bavail * bsize;
}

/** Removes a file or a folder with all it holds; nothing there is fine. */
export async function removeAll(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 3 });
}

/** Waits until the disk has the file, or everything in the folder, at `path`. */
export async function syncTree(path: string, kind: "file" | "folder"): Promise<void> {
  if (kind === "file") {
    await syncFile(path);
    return;
  }
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) await syncTree(child, "folder");
    else if (entry.isFile()) await syncFile(child);
  }
  await syncFolder(path);
}

/** Waits until the disk has the names in a folder; Windows has no such call and needs none. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  await using handle = await open(path, "r");
  try {
    await handle.sync();
  } catch (thrown) {
    // Some network file systems refuse to sync a folder.
    if (systemCode(thrown) !== "EINVAL" && systemCode(thrown) !== "ENOTSUP") throw thrown;
  }
}

async function syncFile(path: string): Promise<void> {
  // Windows syncs only what is open for writing; elsewhere a copied read-only file must work too.
  await using handle = await open(path, process.platform === "win32" ? "r+" : "r");
  await handle.sync();
}
