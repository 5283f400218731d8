/*
 * `npm run test:second-compiler [PATH…]`: the registry of ops, and tests that reach every kernel, in Deno: its WebGPU is wgpu,
 * whose compiler of WGSL, naga, shares nothing with Dawn's Tint and reads the language more strictly. The tests are those
 * that run on Dawn, bundled; `second-compiler/` has what plays Bun there, and the lock file of Deno, which is fetched once (42 MB).
 */
import type { BunPlugin } from "bun";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");
const PARTS = "scripts/second-compiler";

/** Cases of ops and families reach every variant of every kernel. */
const TESTS = [
  "src/compute/tensor/ops/ops.test.ts",
  "src/compute/tensor/cases/families/families.test.ts",
  "src/compute/tensor/strided-sums.test.ts",
  "src/compute/tensor/fill-cache.test.ts",
  "src/compute/gpu/kernels/philox.test.ts",
];

/** What tests import of Bun, and Dawn, played by files of {@link PARTS}; code that asks for native functions hears that there are none. */
const elsewhere: BunPlugin = {
  name: "elsewhere",
  setup(build) {
    build.onResolve({ filter: /^bun:test$/ }, () => ({ path: join(ROOT, PARTS, "bun-test.ts") }));
    build.onResolve({ filter: /^bun:ffi$/ }, () => ({ path: join(ROOT, PARTS, "bun-ffi.ts") }));
    build.onResolve({ filter: /\/dawn\.ts$/ }, () => ({ path: join(ROOT, PARTS, "dawn.ts") }));
  },
};

/** Deno's executable; its package would find it by itself, but for an install script that is not run. */
function denoPath(): string {
  const platform = `${process.platform}-${process.arch}${process.platform === "linux" ? "-glibc" : ""}`;
  const name = process.platform === "win32" ? "deno.exe" : "deno";
  const path = join(ROOT, PARTS, "node_modules/@deno", platform, name);
  if (existsSync(path)) return path;
  const command = [process.platform === "win32" ? "npm.cmd" : "npm", "ci", "--ignore-scripts", "--loglevel=error"];
  const { success } = Bun.spawnSync(command, { cwd: join(ROOT, PARTS), stdio: ["ignore", "inherit", "inherit"] });
  if (!success || !existsSync(path)) throw new Error("Deno could not be installed: see npm's message above");
  return path;
}

const tests = process.argv.length > 2 ? process.argv.slice(2) : TESTS;
const folder = await mkdtemp(join(tmpdir(), "randlora-deno-"));
try {
  await Bun.build({
    entrypoints: [`${PARTS}/main.ts`, ...tests].map((path) => join(ROOT, path)),
    root: ROOT,
    outdir: folder,
    target: "node",
    format: "esm",
    splitting: true,
    plugins: [elsewhere],
    throw: true,
  });
  const deno = denoPath();
  const rights = ["--allow-read", "--allow-env", "--allow-sys", "--no-remote", "--no-npm", "--no-config"];
  const main = join(folder, PARTS, "main.js");
  // Compiling takes one core: the ops, half of the time, run beside the others, whose output follows theirs.
  const running = [tests.slice(0, 1), tests.slice(1)]
    .filter((paths) => paths.length > 0)
    .map((paths, at) =>
      Bun.spawn([deno, "run", ...rights, "--unstable-webgpu", main, ...paths], {
        cwd: ROOT,
        env: {
          ...process.env,
          DENO_DIR: join(folder, `deno-${at}`),
          DENO_NO_UPDATE_CHECK: "1",
          RANDLORA_TEST_DEVICE: "gpu",
        },
        stdio: ["ignore", at === 0 ? "inherit" : "pipe", "inherit"],
      }),
    );
  const rest = running[1]?.stdout;
  const printed = rest === undefined ? "" : await new Response(rest).text();
  const statuses = await Promise.all(running.map(({ exited }) => exited));
  process.stdout.write(printed);
  process.exitCode = Math.max(...statuses);
} finally {
  await rm(folder, { recursive: true });
}
