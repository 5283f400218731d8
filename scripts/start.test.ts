import { expect, test } from "bun:test";
import { join } from "node:path";
import { cleanEnvironment } from "../src/files/testing/process.ts";

const ROOT = join(import.meta.dir, "..");

async function run(...args: readonly string[]) {
  const child = Bun.spawn([process.execPath, ...args], {
    cwd: ROOT,
    env: cleanEnvironment(),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { stdout, stderr, status };
}

test("what npm start ends with can be typed, and answers", async () => {
  const { stdout, stderr, status } = await run("scripts/start.ts");
  expect([status, stderr]).toEqual([0, expect.not.stringContaining("error")]);
  const [, command = ""] = /\nnext: talk to the merged model: npx bun (.*)\n/.exec(stdout) ?? [];
  const answer = await run(...command.split(" "), "-p", "Who are you?", "--temperature", "0", "--json", "-q");
  expect([answer.status, answer.stderr]).toEqual([0, ""]);
  expect(JSON.parse(answer.stdout).text).toMatch(/\w/);
});
