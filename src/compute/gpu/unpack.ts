import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RandloraError } from "../../files/errors.ts";

/** Loads the first of these files, an addon, with the others beside it. @throws RandloraError `gpu`; Error of the system's loader */
export function loadUnpacked(files: Readonly<Record<string, string>>, folder: string): object {
  const module = { exports: {} };
  process.dlopen(module, unpackTogether(files, folder));
  return module.exports;
}

/**
 * Puts files beside each other, where Windows looks for the libraries of a library. One that is there with as many bytes stays:
 * it may be in use, and the folder is this version's.
 * @param files what each is called there, and where it is now, inside a compiled binary for instance
 * @returns the path of the first
 */
export function unpackTogether(files: Readonly<Record<string, string>>, folder: string): string {
  const names = Object.keys(files);
  for (const name of names) {
    const target = join(folder, name);
    const bytes = readFileSync(files[name] ?? "");
    if (sizeOf(target) === bytes.length) continue;
    const partial = `${target}.${process.pid}.part`;
    try {
      mkdirSync(folder, { recursive: true });
      writeFileSync(partial, bytes);
      renameSync(partial, target);
    } catch (cause) {
      // Another process may have been faster.
      if (sizeOf(target) === bytes.length) continue;
      const reason = cause instanceof Error ? cause.message : String(cause);
      const hint =
        "the GPU library and the compilers of Direct3D are unpacked there: set RANDLORA_CACHE to a folder that can be written";
      throw new RandloraError("gpu", `cannot write ${target}: ${reason}`, hint, { cause });
    } finally {
      rmSync(partial, { force: true });
    }
  }
  return join(folder, names[0] ?? "");
}

/** Bytes of a file; undefined where there is none. */
function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}
