import { dlopen, type Pointer, toArrayBuffer } from "bun:ffi";
import { openLibc } from "../../../files/libc.ts";

/** mmap(2), mprotect(2). */
const [PROT_READ, PROT_WRITE, PROT_EXEC] = [1, 2, 4];
const MAP_PRIVATE_ANONYMOUS = 0x22;
/** VirtualAlloc, VirtualProtect, VirtualFree. */
const [MEM_COMMIT_RESERVE, MEM_RELEASE, PAGE_READWRITE, PAGE_EXECUTE_READ] = [0x3000, 0x8000, 4, 0x20];

/** Bytes of a page, of the largest that systems have. */
export const PAGE = process.arch === "arm64" ? 2 ** 16 : 2 ** 12;

/** The system gives no pages for code, and why. */
export class NoPages extends Error {}

/** What a system gives. */
interface System {
  /** Pages that can be written; undefined where there are none. */
  readonly writable: (bytes: number) => Pointer | undefined;
  /** Makes them executable and no longer writable; false where the system refuses it. */
  readonly run: (pages: Pointer, bytes: number) => boolean;
  readonly free: (pages: Pointer, bytes: number) => void;
  /** What `writable` and `run` call. */
  readonly names: readonly [string, string];
}

let known: System | undefined;

/** @throws NoPages where it is not tried: on macOS, whose rules for such pages are another runtime's to keep */
function system(): System {
  if (process.platform === "win32") return (known ??= windows());
  if (process.platform === "linux") return (known ??= linux());
  throw new NoPages(`no machine code on ${process.platform === "darwin" ? "macOS" : process.platform}`);
}

/** @param bytes whole pages */
export function writablePages(bytes: number): Pointer {
  const { writable, names } = system();
  const pages = writable(bytes);
  if (pages === undefined) throw new NoPages(`no executable memory: ${names[0]} failed`);
  return pages;
}

/** Puts code at the begin of pages that could be written until now, and can be run, and never both, from now on. @throws NoPages */
export function makeExecutable(pages: Pointer, code: Uint8Array): void {
  const { run, names } = system();
  const bytes = wholePages(code.length);
  new Uint8Array(toArrayBuffer(pages, 0, bytes)).set(code);
  if (!run(pages, bytes)) throw new NoPages(`no executable memory: the system refuses ${names[1]}`);
}

/** Puts code on pages of its own. @returns its address @throws NoPages */
export function executable(code: Uint8Array): Pointer {
  const bytes = wholePages(code.length);
  const pages = writablePages(bytes);
  try {
    makeExecutable(pages, code);
  } catch (refusal) {
    system().free(pages, bytes);
    throw refusal;
  }
  return pages;
}

export function wholePages(bytes: number): number {
  return Math.ceil(bytes / PAGE) * PAGE;
}

function linux(): System {
  const libc = openLibc({
    mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
    mprotect: { args: ["ptr", "u64", "i32"], returns: "i32" },
    munmap: { args: ["ptr", "u64"], returns: "i32" },
  });
  if (libc === undefined) throw new NoPages("no executable memory: the C library cannot be reached");
  return {
    writable(bytes) {
      const pages = libc.mmap(null, BigInt(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n);
      // MAP_FAILED is -1.
      return typeof pages === "number" && pages >= PAGE ? pages : undefined;
    },
    run: (pages, bytes) => libc.mprotect(pages, BigInt(bytes), PROT_READ | PROT_EXEC) === 0,
    free: (pages, bytes) => void libc.munmap(pages, BigInt(bytes)),
    names: ["mmap", "mprotect with PROT_EXEC"],
  };
}

function windows(): System {
  const { symbols: kernel } = dlopen("kernel32.dll", {
    VirtualAlloc: { args: ["ptr", "u64", "u32", "u32"], returns: "ptr" },
    VirtualProtect: { args: ["ptr", "u64", "u32", "ptr"], returns: "i32" },
    VirtualFree: { args: ["ptr", "u64", "u32"], returns: "i32" },
  });
  return {
    writable(bytes) {
      const pages = kernel.VirtualAlloc(null, BigInt(bytes), MEM_COMMIT_RESERVE, PAGE_READWRITE);
      return typeof pages === "number" ? pages : undefined;
    },
    run: (pages, bytes) => kernel.VirtualProtect(pages, BigInt(bytes), PAGE_EXECUTE_READ, new Uint32Array(1)) !== 0,
    free: (pages) => void kernel.VirtualFree(pages, 0n, MEM_RELEASE),
    names: ["VirtualAlloc", "VirtualProtect with PAGE_EXECUTE_READ"],
  };
}
