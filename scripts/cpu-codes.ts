/*
 * `npm run test:cpu-codes [-- PATH…]`: the tests that compute, with each code of the CPU device that this processor has but the fastest,
 * which `npm test` has them on. At the end it says of each code what failed, or why it was not tried.
 */
import { join } from "node:path";
import { availableCodes, CPU_CODES } from "../src/compute/cpu/native/choose.ts";
import { SETTINGS } from "./tests.ts";

const ROOT = join(import.meta.dir, "..");

/** What is left out computes on a GPU, or not at all. */
const COMPUTING = [
  ...["cpu", "device", "random", "tensor"].map((part) => `src/compute/${part}/`),
  ...["adapters", "chat", "library", "measure", "models", "train"].map((part) => `src/${part}/`),
  ...["cmd", "fixtures"].map((part) => `./${part}/`),
  "./scripts/start.slow.test.ts",
];

const asked = process.argv.slice(2);
// Paths that are asked for may be those that bunfig.toml keeps from `bun test`.
const paths = asked.length > 0 ? ["--path-ignore-patterns=node_modules", ...asked] : COMPUTING;

/** Shows a stream as it comes; @returns the tests that have failed, as it says, behind their files */
async function failuresIn(stream: ReadableStream<Uint8Array>): Promise<string[]> {
  const failures = new Set<string>();
  const decoder = new TextDecoder();
  let [file, rest, isOver] = ["", "", false];
  for await (const bytes of stream) {
    process.stderr.write(bytes);
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      file = /^(\S+\.test\.ts):$/.exec(line)?.[1] ?? file;
      // Bun repeats the failures in the end, without their files.
      isOver ||= /^\d+ tests? failed:$/.test(line);
      const [, name] = /^\(fail\) (.*?)(?: \[[\d.]+m?s\])?$/.exec(line) ?? [];
      if (name !== undefined && !isOver) failures.add(`${file}: ${name}`);
    }
  }
  return [...failures];
}

const report: string[] = [];
const codes = availableCodes();
for (const code of codes.slice(0, -1)) {
  process.stderr.write(`\nRANDLORA_CPU_CODE=${code}\n`);
  const begin = performance.now();
  const tests = Bun.spawn([process.execPath, "test", "--parallel", "--no-isolate", "--timeout", "600000", ...paths], {
    cwd: ROOT,
    env: { ...process.env, ...SETTINGS, RANDLORA_CPU_CODE: code },
    stdio: ["ignore", "inherit", "pipe"],
  });
  const failures = await failuresIn(tests.stderr);
  const status = await tests.exited;
  const minutes = ((performance.now() - begin) / 60_000).toFixed(1);
  report.push(`${code}: ${status === 0 ? "passed" : `failed (status ${status})`}, ${minutes} minutes`);
  report.push(...failures.map((failure) => `  ${failure}`));
  if (status !== 0) process.exitCode = 1;
}
report.push(`${codes.at(-1)}: not tried, \`npm test\` computes with it`);
for (const code of CPU_CODES) if (!codes.includes(code)) report.push(`${code}: not tried, this machine cannot run it`);
if (codes.length === 1) report.push("nothing was tested here");
process.stderr.write(`\n${report.join("\n")}\n`);
