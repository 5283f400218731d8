/*
 * `npm run test:cpu-codes [PATH…]`: the tests that compute, with each code of the CPU device that this processor has but the fastest, which
 * `npm test` has them on.
 */
import { join } from "node:path";
import { availableCodes } from "../src/compute/cpu/native/choose.ts";

const ROOT = join(import.meta.dir, "..");

/** What is left out computes on a GPU, or not at all. */
const COMPUTING = [
  ...["cpu", "device", "random", "tensor"].map((part) => `src/compute/${part}/`),
  ...["adapters", "chat", "library", "measure", "models", "mpi", "train"].map((part) => `src/${part}/`),
  ...["bench", "cmd", "fixtures", "scripts"].map((part) => `./${part}/`),
];

const paths = process.argv.length > 2 ? process.argv.slice(2) : COMPUTING;
for (const code of availableCodes().slice(0, -1)) {
  process.stdout.write(`\nRANDLORA_CPU_CODE=${code}\n`);
  const args = ["test", "--parallel", "--no-isolate", "--timeout", "240000", ...paths];
  const tests = Bun.spawn([process.execPath, ...args], {
    cwd: ROOT,
    env: { ...process.env, RANDLORA_CPU_CODE: code },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if ((await tests.exited) !== 0) process.exitCode = 1;
}
