/*
 * The library's declarations (src/library) for those who have no sources: what tsc emits, as far as src/library/index.ts reaches it.
 */
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { execute } from "./runtimes.ts";
import { workFolder } from "./work-folder.ts";

const ROOT = join(import.meta.dir, "..");

/** The declarations of the module that is imported, from their folder. */
export const LIBRARY_TYPES = "library/index.d.ts";

/** Modules that a declaration names: `from "./x.ts"`, `import("./x.ts")`. */
const IMPORTS = /(?<=\bfrom |\bimport\(|^import )"([^"]+)"/gm;

/**
 * Writes the declarations into a folder.
 * @throws {Error} where they name another package, whose types a project without it would take for `any`
 */
export async function declareLibrary(folder: string): Promise<void> {
  using work = workFolder(folder);
  const project = join(import.meta.dir, "npm/tsconfig.json");
  await execute(
    [process.execPath, join(ROOT, "node_modules/typescript/bin/tsc"), "-p", project, "--outDir", work.path],
    ROOT,
  );
  const waiting = [LIBRARY_TYPES];
  // Grows while it is walked.
  for (const path of waiting) {
    const text = await readFile(join(work.path, path), "utf8");
    const declared = text.replaceAll(IMPORTS, (_, name: string) => {
      if (!name.startsWith(".")) throw new Error(`${path}: the library's types need ${name}`);
      const module = join(dirname(path), name);
      const declaration = module.replace(/\.ts$/, ".d.ts");
      if (!waiting.includes(declaration)) waiting.push(declaration);
      return JSON.stringify(name.replace(/\.ts$/, ".js"));
    });
    await Bun.write(join(folder, path), declared);
  }
}

if (import.meta.main) {
  // Comments name sources as they are seen from here.
  process.chdir(ROOT);
  await declareLibrary(join(ROOT, "dist/types"));
}
