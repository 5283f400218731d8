import { dlopen, type Pointer, toArrayBuffer } from "bun:ffi";
import { openLibc } from "../../../files/libc.ts";

/** mmap(2), mprotect(2). */
const [PROT_READ, PROT_WRITE, PROT_EXEC] = [1, 2, 4];
const MAP_PRIVATE_ANONYMOUS = 0x22;
/** VirtualAlloc, VirtualProtect, VirtualFree. */
const [MEM_COMMIT_RESERVE, MEM_RELEASE, PAGE_READWRITE, PAGE_EXECUTE_READ] = [0x3000, 0x8000, 4, 0x20];
const PAGE = 2 ** 16;

/** The system gives no pages for code, and why. */
export class NoPages extends Error {}

/**
 * Puts code where the processor runs it: pages that can be written, then run, and never both.
 * @returns its address
 * @throws NoPages where the system refuses it, or where it is not tried: on macOS, whose rules for such pages are another runtime's to keep
 */
export function executable(code: Uint8Array): Pointer {
  const bytes = Math.ceil(code.length / PAGE) * PAGE;
  if (process.platform === "win32") return windowsPages(code, bytes);
  if (process.platform === "linux") return linuxPages(code, bytes);
  throw new NoPages(`no machine code on ${process.platform === "darwin" ? "macOS" : process.platform}`);
}

function linuxPages(code: Uint8Array, bytes: number): Pointer {
  const libc = openLibc({
    mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
    mprotect: { args: ["ptr", "u64", "i32"], returns: "i32" },
    munmap: { args: ["ptr", "u64"], returns: "i32" },
  });
  if (libc === undefined) throw new NoPages("no executable memory: the C library cannot be reached");
  const pages = libc.mmap(null, BigInt(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n);
  // MAP_FAILED is -1.
  if (typeof pages !== "number" || pages < PAGE) throw new NoPages("no executable memory: mmap failed");
  new Uint8Array(toArrayBuffer(pages, 0, bytes)).set(code);
  if (libc.mprotect(pages, BigInt(bytes), PROT_READ | PROT_EXEC) === 0) return pages;
  libc.munmap(pages, BigInt(bytes));
  throw new NoPages("no executable memory: the system refuses mprotect with PROT_EXEC");
}

function windowsPages(code: Uint8Array, bytes: number): Pointer {
  const { symbols: kernel } = dlopen("kernel32.dll", {
    VirtualAlloc: { args: ["ptr", "u64", "u32", "u32"], returns: "ptr" },
    VirtualProtect: { args: ["ptr", "u64", "u32", "ptr"], returns: "i32" },
    VirtualFree: { args: ["ptr", "u64", "u32"], returns: "i32" },
  });
  const pages = kernel.VirtualAlloc(null, BigInt(bytes), MEM_COMMIT_RESERVE, PAGE_READWRITE);
  if (typeof pages !== "number") throw new NoPages("no executable memory: VirtualAlloc failed");
  new Uint8Array(toArrayBuffer(pages, 0, bytes)).set(code);
  const before = new Uint32Array(1);
  if (kernel.VirtualProtect(pages, BigInt(bytes), PAGE_EXECUTE_READ, before) !== 0) return pages;
  kernel.VirtualFree(pages, 0n, MEM_RELEASE);
  throw new NoPages("no executable memory: the system refuses VirtualProtect with PAGE_EXECUTE_READ");
}
