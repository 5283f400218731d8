/*
 * The library (src/library) for one platform, as JavaScript for Bun and the files beside it that it carries: kernels, the embedded
 * model, Dawn's addon. Names stay, so that what a trace shows can be read.
 */
import { join } from "node:path";
import { READER } from "../src/chat/serve/reader-messages.ts";
import { THREADS, WINDOWS_LOADERS } from "./build.ts";
import type { Target } from "./runtimes.ts";

const ROOT = join(import.meta.dir, "..");

/** Writes the bundle into a folder, src/library/index.js in it; src/files/carried.ts finds there what it carries. */
export async function bundleLibrary(folder: string, target: Target): Promise<void> {
  const [system = "", arch = ""] = target.split("-");
  const platform = system === "windows" ? "win32" : system;
  await Bun.build({
    entrypoints: ["src/library/index.ts", READER, ...THREADS].map((path) => join(ROOT, path)),
    root: ROOT,
    outdir: folder,
    target: "bun",
    format: "esm",
    // As in the sources, most is loaded when it is asked for.
    splitting: true,
    // Entry points by their paths from the root; all else, and what modules import as paths, beside each other.
    naming: { entry: "[dir]/[name].[ext]", chunk: "[name]-[hash].[ext]", asset: "[name]-[hash].[ext]" },
    // With both told, the addons of other platforms are dead code, and not taken along.
    define: { "process.platform": JSON.stringify(platform), "process.arch": JSON.stringify(arch) },
    ...(platform === "win32" ? { loader: WINDOWS_LOADERS } : {}),
    throw: true,
  });
}
