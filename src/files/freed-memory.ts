import { readFileSync } from "node:fs";
import { openLibc } from "./libc.ts";

/** glibc's mallopt(3): M_MMAP_THRESHOLD. */
const MMAP_THRESHOLD = -3;
/** Bytes: glibc's own first value, which it would raise to 32 MB as soon as something large is freed. */
const LARGE = 128 * 1024;

/** madvise(2): MADV_PAGEOUT takes nothing but memory away; what is needed again comes from the file. */
const PAGE_OUT = 21;

interface Library {
  trim(): void;
  returnLarge(): void;
  pageOut(start: bigint, bytes: bigint): void;
}

let loaded: Library | undefined;

/**
 * Gives memory back to the system that native code has freed: a software GPU's compiler leaves some 60 MB behind, which
 * the C library would keep for itself. Does nothing where the C library has no such call (glibc's malloc_trim(3)).
 */
export function returnFreedMemory(): void {
  loaded ??= load();
  loaded.trim();
}

/** From now on what native code frees in large pieces goes back to the system at once. Does nothing without glibc. */
export function returnLargePieces(): void {
  loaded ??= load();
  loaded.returnLarge();
}

/**
 * Gives back the pages of the program's own file that lie beside its code: a compiled binary unpacks the GPU library from
 * there, 22 MB that nobody reads again. Does nothing without glibc, or where the system refuses.
 */
export function returnUnpackedFile(): void {
  if (process.platform !== "linux") return;
  loaded ??= load();
  for (const { start, end } of dataOfProgram()) loaded.pageOut(start, end - start);
}

/** Where the writable part of the executable, with what was compiled into it, is mapped. */
function dataOfProgram(): { readonly start: bigint; readonly end: bigint }[] {
  try {
    const lines = readFileSync("/proc/self/maps", "utf8").split("\n");
    const found = lines.filter((line) => line.endsWith(` ${process.execPath}`));
    return found.flatMap((line) => {
      const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) rw-p/.exec(line) ?? [];
      return start === undefined || end === undefined ? [] : [{ start: BigInt(`0x${start}`), end: BigInt(`0x${end}`) }];
    });
  } catch {
    return []; // no /proc
  }
}

function load(): Library {
  const nothing: Library = { trim: () => {}, returnLarge: () => {}, pageOut: () => {} };
  if (process.platform !== "linux") return nothing;
  const libc = openLibc({
    malloc_trim: { args: ["usize"], returns: "i32" },
    mallopt: { args: ["i32", "i32"], returns: "i32" },
    madvise: { args: ["u64", "u64", "i32"], returns: "i32" },
  });
  if (libc === undefined) return nothing; // musl has no malloc_trim
  return {
    trim: () => void libc.malloc_trim(0),
    returnLarge: () => void libc.mallopt(MMAP_THRESHOLD, LARGE),
    pageOut: (start, bytes) => void libc.madvise(start, bytes, PAGE_OUT),
  };
}
