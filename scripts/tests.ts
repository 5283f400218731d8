/*
 * `bun scripts/tests.ts ARGUMENTS`: `bun test` with them, for runs of many files in one process.
 */
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");

/**
 * What a process needs that opens hundreds of devices: by default JavaScriptCore collects all garbage, and waits for that, where a
 * memory of WebAssembly is made beside four others. The more garbage there is, the longer each device takes to open.
 */
export const SETTINGS = { BUN_JSC_maxNumWasmFastMemories: "1000" };

/** Runs `bun test` and returns its exit status; `args` are paths and options, `env` is added to the environment. */
export async function runTests(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<number> {
  const tests = Bun.spawn([process.execPath, "test", ...args], {
    cwd: ROOT,
    env: { ...process.env, ...SETTINGS, ...env },
    stdio: ["ignore", "inherit", "inherit"],
  });
  return await tests.exited;
}

if (import.meta.main) process.exitCode = await runTests(process.argv.slice(2));
