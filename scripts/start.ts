/*
 * The main job with the model that the program carries, as a user would type it: what `npm start` shows.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");
const RUN = "dist/start-run";
const MERGED = "dist/start";

const COMMANDS = [
  ["doctor"],
  ["finetune", "--sparse", "--steps", "20", "--out", RUN],
  ["merge", "embedded", RUN, "--out", MERGED, "--force", "--verify"],
];

process.stdout.write("Here, `randlora` stands for: npx bun cmd/main.ts\n");
await rm(join(ROOT, RUN), { recursive: true, force: true });
for (const args of COMMANDS) {
  process.stdout.write(`\n$ randlora ${args.join(" ")}\n`);
  const child = Bun.spawn([process.execPath, "cmd/main.ts", ...args], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const status = await child.exited;
  if (status !== 0) process.exit(status);
}
process.stdout.write(`
next: talk to the merged model: npx bun cmd/main.ts chat ${MERGED}
      make the program, one file: npm run build (dist/randlora)
`);
