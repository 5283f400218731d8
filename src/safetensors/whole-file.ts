import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
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

/** A name beside `path` that no other process uses. */
export function besides(path: string): string {
  return `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
}
