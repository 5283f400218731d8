import { dlopen } from "bun:ffi";

/** glibc's mallopt(3): M_MMAP_THRESHOLD. */
const MMAP_THRESHOLD = -3;
/** Bytes: glibc's own first value, which it would raise to 32 MB as soon as something large is freed. */
const LARGE = 128 * 1024;

interface Library {
  trim(): void;
  returnLarge(): void;
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

function load(): Library {
  const nothing: Library = { trim: () => {}, returnLarge: () => {} };
  if (process.platform !== "linux") return nothing;
  try {
    const { symbols } = dlopen("libc.so.6", {
      malloc_trim: { args: ["usize"], returns: "i32" },
      mallopt: { args: ["i32", "i32"], returns: "i32" },
    });
    return {
      trim: () => void symbols.malloc_trim(0),
      returnLarge: () => void symbols.mallopt(MMAP_THRESHOLD, LARGE),
    };
  } catch {
    return nothing; // musl
  }
}
