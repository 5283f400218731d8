/*
 * What the program carries with it, beside its own code: files (`with { type: "file" }`) and the programs of threads. Where they are
 * depends on what runs: the sources, the compiled binary (scripts/build.ts), or the library's bundle (scripts/library-bundle.ts).
 */
import { isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";

const isSource = import.meta.url.endsWith("/carried.ts");

/** Where a file is that a module imports as a path: in a bundle such paths are relative to its chunks, which are beside the files. */
export function carriedFile(path: string): string {
  return isAbsolute(path) ? path : fileURLToPath(new URL(path, import.meta.url));
}

/**
 * What starts a process that does one job of the program's. @param path its program in the sources, from the root of the
 * repository; the compiled program is told it as its only argument, by which cmd/main.ts knows what is meant
 */
export function childCommand(path: `src/${string}.ts`): readonly string[] {
  const program = threadProgram(path);
  return [process.execPath, program.startsWith("file:") ? fileURLToPath(program) : path];
}

/** Programs of threads that are started from elsewhere: scripts/test-setup.ts bundles what tests start by the hundred. */
export const bundledThreads = new Map<string, string>();

/** What starts a thread. @param path its program in the sources, from the root of the repository */
export function threadProgram(path: `src/${string}.ts`): string {
  if (isSource) return bundledThreads.get(path) ?? new URL(`../../${path}`, import.meta.url).href;
  // The binary knows its entry points by their paths from the root; the library's bundle has each where its source is.
  if (Bun.embeddedFiles.length > 0) return `./${path}`;
  return new URL(path.replace(/\.ts$/, ".js"), import.meta.url).href;
}
