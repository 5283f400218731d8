/**
 * The Vulkan loader and Dawn write warnings of their own to file descriptor 2 while a GPU is being opened. A user who
 * has a working GPU need not read them, and one who has none gets them in our message. This module catches them.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const STDERR = 2;

interface Descriptors {
  dup(fd: number): number;
  dup2(from: number, to: number): number;
}

/**
 * Runs `work` with file descriptor 2 sent to a file; returns its result and what native code wrote meanwhile.
 * Where the C library cannot be reached (Windows, musl), or no file can be made, nothing is caught and `log` is empty.
 */
export async function catchNativeLog<T>(work: () => Promise<T>): Promise<{ result: T; log: string }> {
  const libc = await openLibc();
  const folder = libc === undefined ? undefined : makeFolder();
  if (libc === undefined || folder === undefined) return { result: await work(), log: "" };
  const path = join(folder, "gpu.log");
  const file = openSync(path, "w");
  const saved = libc.dup(STDERR);
  libc.dup2(file, STDERR);
  try {
    const result = await work();
    return { result, log: readFileSync(path, "utf8") };
  } finally {
    libc.dup2(saved, STDERR);
    closeSync(saved);
    closeSync(file);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A new temporary folder; none where the temp folder is missing, full or read-only: no reason to go without a GPU. */
function makeFolder(): string | undefined {
  try {
    return mkdtempSync(join(tmpdir(), "randlora-"));
  } catch {
    return undefined;
  }
}

async function openLibc(): Promise<Descriptors | undefined> {
  const name =
    process.platform === "linux" ? "libc.so.6" : process.platform === "darwin" ? "libSystem.dylib" : undefined;
  if (name === undefined) return undefined;
  try {
    const { dlopen } = await import("bun:ffi");
    return dlopen(name, {
      dup: { args: ["i32"], returns: "i32" },
      dup2: { args: ["i32", "i32"], returns: "i32" },
    }).symbols;
  } catch {
    return undefined;
  }
}
