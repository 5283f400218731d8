import { ptr } from "bun:ffi";
import { openLibc } from "../../files/libc.ts";

/** madvise(2): MADV_HUGEPAGE. */
const HUGE_PAGE = 14;

let advise: ((start: number, bytes: bigint) => void) | undefined;

/**
 * Asks Linux to back a memory, as far as it may grow, by pages of 2 MiB where it has them: a pass over a model's weights meets
 * every page once, and finding a page of 4 KiB costs a good part of what reading it does. Changes nothing elsewhere.
 * @param bytes that it has at most
 */
export function useHugePages({ buffer }: WebAssembly.Memory, bytes: number): void {
  if (buffer.byteLength === 0) return;
  advise ??= load();
  advise(ptr(new Uint8Array(buffer)), BigInt(bytes));
}

function load(): (start: number, bytes: bigint) => void {
  const libc =
    process.platform === "linux" ? openLibc({ madvise: { args: ["ptr", "u64", "i32"], returns: "i32" } }) : undefined;
  // A kernel without such pages refuses, and nothing is lost.
  return (start, bytes) => void libc?.madvise(start, bytes, HUGE_PAGE);
}
