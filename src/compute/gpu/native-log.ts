/**
 * The Vulkan loader and Dawn write warnings of their own to file descriptor 2 while a GPU is being opened. A user who
 * has a working GPU need not read them, and one who has none gets them in our message. This module catches them.
 */
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLibc } from "../../files/libc.ts";

const STDERR = 2;

/**
 * Runs `work` with file descriptor 2 sent to a file; returns its result and what native code wrote meanwhile.
 * Where the C library cannot be reached (Windows), or no file can be made, nothing is caught and `log` is empty.
 */
export async function catchNativeLog<T>(work: () => Promise<T>): Promise<{ result: T; log: string }> {
  const libc = openLibc({
    dup: { args: ["i32"], returns: "i32" },
    dup2: { args: ["i32", "i32"], returns: "i32" },
  });
  const file = libc === undefined ? undefined : openNameless();
  if (libc === undefined || file === undefined) return { result: await work(), log: "" };
  const saved = libc.dup(STDERR);
  libc.dup2(file, STDERR);
  try {
    const result = await work();
    return { result, log: readAll(file) };
  } finally {
    libc.dup2(saved, STDERR);
    closeSync(saved);
    closeSync(file);
  }
}

/**
 * A temporary file whose name is gone already, so that nothing stays of it however the process ends; none where the temp
 * folder is missing, full or read-only: no reason to go without a GPU.
 */
function openNameless(): number | undefined {
  try {
    const folder = mkdtempSync(join(tmpdir(), "randlora-"));
    try {
      return openSync(join(folder, "gpu.log"), "wx+");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  } catch {
    return undefined;
  }
}

function readAll(file: number): string {
  const bytes = new Uint8Array(fstatSync(file).size);
  const length = readSync(file, bytes, 0, bytes.length, 0);
  return new TextDecoder().decode(bytes.subarray(0, length));
}
