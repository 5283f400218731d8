import { type BigIntStats } from "node:fs";
import { lstat, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileError, systemCode } from "./failure.ts";

/** What is at `path`, without following a symbolic link; `undefined` for nothing. */
export async function found(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (thrown) {
    if (systemCode(thrown) === "ENOENT") return undefined;
    throw fileError(thrown, path, "write");
  }
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
