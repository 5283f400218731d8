/*
 * The main job with the model that the program carries, as a user would type it: what `npm start` shows, and README.md.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");
const RUN = "dist/start-run";
const QUESTION = "Who are you?";

const ask = (model: string) => ["chat", model, QUESTION, "--temperature", "0"];
const COMMANDS = [ask("embedded"), ["finetune", "--sparse", "--out", RUN], ask(RUN)];
const quoted = (arg: string) => (arg.includes(" ") ? `"${arg}"` : arg);

process.stdout.write("Here, `randlora` stands for: npx bun cmd/main.ts\n");
await rm(join(ROOT, RUN), { recursive: true, force: true });
for (const args of COMMANDS) {
  process.stdout.write(`\n$ randlora ${args.map(quoted).join(" ")}\n`);
  const child = Bun.spawn([process.execPath, "cmd/main.ts", ...args], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const status = await child.exited;
  if (status !== 0) process.exit(status);
}
process.stdout.write("\nThe program as one file, dist/randlora: npm run build\n");
