import { mkdir, open, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { syncFolder } from "./disk.ts";
import { naming } from "./failure.ts";

/**
 * Writes a small file so that no reader ever sees a part of it, and so that a failure (a full disk) leaves what was there.
 * Makes the folders above it. Throws `RandloraError` "file".
 */
export async function writeWhole(path: string, text: string): Promise<void> {
  const temporary = besides(path);
  await naming(path, "write", mkdir(dirname(path), { recursive: true }));
  try {
    await naming(path, "write", writeFile(temporary, text));
    await naming(path, "write", rename(temporary, path));
  } finally {
    await rm(temporary, { force: true });
  }
}

/**
 * As {@link writeWhole}, for a file that only one process writes and that a power failure must not lose: what a killed one
 * left, `NAME.part`, the next one writes over.
 */
export async function replaceSynced(path: string, text: string): Promise<void> {
  const part = `${path}.part`;
  await naming(path, "write", writeSynced(part, text));
  await naming(path, "write", rename(part, path));
  await naming(path, "write", syncFolder(dirname(path)));
}

/** Writes a file anew, never through a link, and waits until the disk has its bytes. */
export async function writeSynced(path: string, text: string): Promise<void> {
  await rm(path, { force: true });
  await using handle = await open(path, "wx");
  await writeFile(handle, text);
  await handle.sync();
}

/** A name beside `path` that no other process uses. */
export function besides(path: string): string {
  return `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
}
