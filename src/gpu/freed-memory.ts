import { dlopen } from "bun:ffi";

let trim: (() => void) | undefined;

/**
 * Gives memory back to the system that native code has freed: a software GPU's compiler leaves some 60 MB behind, which
 * the C library would keep for itself. Does nothing where the C library has no such call (glibc's malloc_trim(3)).
 */
export function returnFreedMemory(): void {
  trim ??= load();
  trim();
}

function load(): () => void {
  if (process.platform !== "linux") return () => {};
  try {
    const { symbols } = dlopen("libc.so.6", { malloc_trim: { args: ["usize"], returns: "i32" } });
    return () => void symbols.malloc_trim(0);
  } catch {
    return () => {}; // musl
  }
}
