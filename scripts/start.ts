/*
 * The main job on a bundled fixture, as a user would type it: what `npm start` shows.
 */
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");

const COMMANDS = [
  ["doctor"],
  ["merge", "fixtures/tiny/base", "fixtures/tiny/adapter", "--out", "dist/start", "--force", "--verify"],
];

for (const args of COMMANDS) {
  process.stdout.write(`\n$ randlora ${args.join(" ")}\n`);
  const child = Bun.spawn([process.execPath, "cmd/main.ts", ...args], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
  });
  process.exitCode = await child.exited;
  if (process.exitCode !== 0) break;
}
