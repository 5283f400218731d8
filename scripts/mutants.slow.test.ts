import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const MUTATED = "src/compute/device/pairing.ts";

async function mutants(...args: readonly string[]) {
  const program = [process.execPath, join(import.meta.dir, "mutants.ts"), "--folder", MUTATED, ...args];
  const child = Bun.spawn(program, { stdout: "pipe", stderr: "ignore" });
  return { text: await child.stdout.text(), status: await child.exited };
}

test("a mistake is noticed by the test beside its file, in a copy; one that nothing notices is a failure", async () => {
  const path = join(import.meta.dir, "..", MUTATED);
  const before = readFileSync(path, "utf8");
  const noticed = await mutants();
  expect(noticed.status).toBe(0);
  expect(noticed.text).toContain(" | npm test | src/compute/device/pairing.test.ts | ");
  const unnoticed = await mutants("--nearest", "0");
  expect(unnoticed.status).toBe(1);
  expect(unnoticed.text).toContain("all tests notice 0 of 1 mistakes");
  expect(readFileSync(path, "utf8")).toBe(before);
}, 120_000);
