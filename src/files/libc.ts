import { dlopen, type FFIFunction, type Library } from "bun:ffi";

const MUSL_ARCH: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64" };

/** What the C library is called here: glibc's and musl's on Linux; Windows has another interface. */
function names(): readonly string[] {
  if (process.platform === "linux") return ["libc.so.6", `libc.musl-${MUSL_ARCH[process.arch] ?? process.arch}.so.1`];
  return process.platform === "darwin" ? ["libSystem.B.dylib"] : [];
}

/** These functions of the C library; undefined where it cannot be reached, or lacks one of them. */
export function openLibc<Functions extends Record<string, FFIFunction>>(
  functions: Functions,
): Library<Functions>["symbols"] | undefined {
  for (const name of names()) {
    try {
      return dlopen(name, functions).symbols;
    } catch {
      // Not this one.
    }
  }
  return undefined;
}

/** Text as C has it. */
export function cString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}
