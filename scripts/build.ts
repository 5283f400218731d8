/*
 * Compiles the program into one executable a platform.
 *
 *   bun scripts/build.ts               dist/randlora for this machine
 *   bun scripts/build.ts --all         dist/randlora-<platform> for every platform, and dist/randlora
 *   bun scripts/build.ts linux-arm64   dist/randlora-linux-arm64
 */
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { formatBytes, formatDuration } from "../src/terminal/format.ts";
import { signAdHoc } from "./sign-macho.ts";
import { hostTarget, isTarget, runtime, TARGETS, type Target } from "./runtimes.ts";

const ROOT = join(import.meta.dir, "..");

/** What is said beside a binary for Windows of the compiler that it carries. */
const WINDOWS_NOTICES = ["dxcompiler-LICENSE.TXT", "dxcompiler-ThirdPartyNotices.txt"];

/** There Dawn and Direct3D's compilers are files that src/compute/gpu/dawn.ts unpacks beside each other. */
export const WINDOWS_LOADERS = { ".node": "file", ".dll": "file" } as const;

/** Programs of threads, which what is built finds by these paths (src/files/carried.ts). */
export const THREADS = ["src/compute/cpu/worker.ts", "src/data/images/worker.ts"];

/** The commit of the sources, `-dirty` where they differ from it; undefined without git. */
function commitOf(folder: string): string | undefined {
  const command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
  if (!existsSync(join(folder, ".git")) || Bun.which("git") === null) return undefined;
  return Bun.spawnSync(command, { cwd: folder, stderr: "ignore" }).stdout.toString().trim() || undefined;
}

/**
 * Builds for this machine, or for `target` with that platform's runtime. The file appears only when it is complete.
 * @param program its entry point, from the root
 */
export async function build(outfile: string, target?: Target, program = "cmd/main.ts"): Promise<void> {
  const folder = dirname(outfile);
  await mkdir(folder, { recursive: true });
  const foreign = target !== undefined && target !== hostTarget();
  const isWindows = (target ?? hostTarget()) === "windows-x64";
  // Beside the result, so that a rename can publish it; Bun leaves its source maps there too.
  const partial = await mkdtemp(join(folder, ".build-"));
  try {
    await Bun.build({
      entrypoints: [program, ...THREADS].map((path) => join(ROOT, path)),
      root: ROOT,
      compile: {
        outfile: join(partial, basename(outfile)),
        // A .env or bunfig.toml in the user's folder belongs to the user's program, not to this one.
        autoloadDotenv: false,
        autoloadBunfig: false,
        ...(foreign ? { target: `bun-${target}` } : {}),
        // Without npm Bun fetches the runtime by itself.
        ...(foreign && Bun.which("npm") !== null ? { executablePath: await runtime(target) } : {}),
      },
      // Undefined where cmd/main.ts runs as it is.
      define: { RANDLORA_COMMIT: JSON.stringify(commitOf(ROOT)) ?? "undefined" },
      ...(isWindows ? { loader: WINDOWS_LOADERS } : {}),
      minify: true,
      sourcemap: "inline",
      // Halves the time to `--help`. Bytecode is tied to the runtime that makes it: only for the machine we are on.
      bytecode: !foreign,
      format: "esm",
      throw: true,
    });
    const result = join(partial, basename(outfile));
    if ((target ?? hostTarget()) === "darwin-x64")
      await writeFile(result, signAdHoc(await readFile(result), "randlora"));
    await rename(result, outfile);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  if (!isWindows) return;
  for (const name of WINDOWS_NOTICES) {
    await copyFile(join(ROOT, "node_modules/webgpu/dist/win32-x64", name), join(folder, name));
  }
}

async function report(outfile: string, target?: Target): Promise<void> {
  const start = performance.now();
  await build(outfile, target);
  const { size } = await stat(outfile);
  const seconds = formatDuration((performance.now() - start) / 1000);
  process.stdout.write(`${outfile.slice(ROOT.length + 1)}  ${formatBytes(size)}  ${seconds}\n`);
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({ options: { all: { type: "boolean" } }, allowPositionals: true });
  const dist = join(ROOT, "dist");
  if (values.all === true || positionals.length === 0) {
    await report(join(dist, process.platform === "win32" ? "randlora.exe" : "randlora"));
  }
  for (const target of values.all === true ? Object.keys(TARGETS) : positionals) {
    if (!isTarget(target)) throw new Error(`${target}: not one of ${Object.keys(TARGETS).join(", ")}`);
    await report(join(dist, `randlora-${target}${target === "windows-x64" ? ".exe" : ""}`), target);
  }
}
