import { dlopen, type Pointer, toArrayBuffer } from "bun:ffi";
import { openLibc } from "../../../files/libc.ts";

/** mmap(2), mprotect(2). */
const [PROT_READ, PROT_WRITE, PROT_EXEC] = [1, 2, 4];
const MAP_PRIVATE_ANONYMOUS = 0x22;
/** VirtualAlloc, VirtualProtect. */
const [MEM_COMMIT_RESERVE, PAGE_READWRITE, PAGE_EXECUTE_READ] = [0x3000, 4, 0x20];
const PAGE = 2 ** 16;

/**
 * Puts code where the processor runs it: pages that can be written, then run, and never both.
 * @returns its address; undefined where the system refuses it, or where it is not tried: on macOS, whose rules for such pages are
 *   another runtime's to keep
 */
export function executable(code: Uint8Array): Pointer | undefined {
  const bytes = Math.ceil(code.length / PAGE) * PAGE;
  const address = process.platform === "win32" ? windowsPages(code, bytes) : linuxPages(code, bytes);
  return address;
}

/** Whether the system lets this process run code of its own. */
export function canExecute(): boolean {
  return executable(new Uint8Array(1)) !== undefined;
}

function linuxPages(code: Uint8Array, bytes: number): Pointer | undefined {
  if (process.platform !== "linux") return undefined;
  const libc = openLibc({
    mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
    mprotect: { args: ["ptr", "u64", "i32"], returns: "i32" },
  });
  if (libc === undefined) return undefined;
  const pages = libc.mmap(null, BigInt(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n);
  // MAP_FAILED is -1.
  if (typeof pages !== "number" || pages < PAGE) return undefined;
  new Uint8Array(toArrayBuffer(pages, 0, bytes)).set(code);
  return libc.mprotect(pages, BigInt(bytes), PROT_READ | PROT_EXEC) === 0 ? pages : undefined;
}

function windowsPages(code: Uint8Array, bytes: number): Pointer | undefined {
  const { symbols: kernel } = dlopen("kernel32.dll", {
    VirtualAlloc: { args: ["ptr", "u64", "u32", "u32"], returns: "ptr" },
    VirtualProtect: { args: ["ptr", "u64", "u32", "ptr"], returns: "i32" },
  });
  const pages = kernel.VirtualAlloc(null, BigInt(bytes), MEM_COMMIT_RESERVE, PAGE_READWRITE);
  if (typeof pages !== "number") return undefined;
  new Uint8Array(toArrayBuffer(pages, 0, bytes)).set(code);
  const before = new Uint32Array(1);
  return kernel.VirtualProtect(pages, BigInt(bytes), PAGE_EXECUTE_READ, before) === 0 ? undefined : pages;
}
