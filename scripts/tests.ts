/*
 * `bun scripts/tests.ts [--slow | --all] [ARGUMENTS]`: `bun test` with them. By default without `*.slow.test.ts`, which need a package of
 * the system (a GPU driver, a browser, shells, assemblers) or walk a whole matrix; --slow runs those only.
 */
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");
const SLOW = "**/*.slow.test.ts";

/**
 * What a process needs that opens hundreds of devices: by default JavaScriptCore collects all garbage, and waits for that, where a
 * memory of WebAssembly is made beside four others. The more garbage there is, the longer each device takes to open.
 */
export const SETTINGS = { BUN_JSC_maxNumWasmFastMemories: "1000" };

const start = (args: readonly string[], env: NodeJS.ProcessEnv, output: "inherit" | "pipe") =>
  Bun.spawn([process.execPath, "test", ...args], {
    cwd: ROOT,
    env: { ...process.env, ...SETTINGS, ...env },
    stdio: ["ignore", output, output],
  });

/** Runs `bun test` and returns its exit status; `args` are paths and options, `env` is added to the environment. */
export async function runTests(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<number> {
  return await start(args, env, "inherit").exited;
}

/** Two runs side by side, where `--parallel` would leave the longest file for the end. What the second prints follows the first. */
export async function runBoth(runs: readonly [string[], string[]], env: NodeJS.ProcessEnv): Promise<number> {
  const [first, second] = [start(runs[0], env, "inherit"), start(runs[1], env, "pipe")];
  const printed = [second.stdout, second.stderr].map((stream) => new Response(stream).text());
  const statuses = await Promise.all([first.exited, second.exited]);
  for (const text of await Promise.all(printed)) process.stdout.write(text);
  return Math.max(...statuses);
}

/** The files that `npm test` leaves out. */
export const slowTests = (): string[] =>
  ["src", "cmd", "scripts", "bench", "fixtures"].flatMap((folder) =>
    [...new Bun.Glob(`${folder}/${SLOW}`).scanSync(ROOT)].map((path) => `./${path}`).toSorted(),
  );

/** An option of `bun test` takes the place of the same setting in bunfig.toml. */
const withoutSlow = (): string[] =>
  [SLOW, "interop/**", "bench/peers/**"].map((pattern) => `--path-ignore-patterns=${pattern}`);

if (import.meta.main) {
  const [first = "", ...rest] = process.argv.slice(2);
  const which = first === "--slow" || first === "--all" ? first : undefined;
  const args = which === undefined ? process.argv.slice(2) : rest;
  const paths = { "--slow": slowTests, "--all": () => [] };
  process.exitCode = await runTests([...args, ...(which === undefined ? withoutSlow() : paths[which]())]);
  if (which === undefined && args.every((arg) => arg.startsWith("-") || /^\d+$/.test(arg))) {
    const left = `${slowTests().length} files of slow tests, which need root, a GPU driver, a browser, shells or minutes`;
    process.stderr.write(`left out: ${left}; npm run test:all runs them too\n`);
  }
}
