import { expect, test } from "bun:test";
import { join } from "node:path";
import { cleanEnvironment } from "../src/files/testing/process.ts";

const ROOT = join(import.meta.dir, "..");

/** Numbers of a line, and the line without them: the last digits differ between codes of the CPU device. */
function parts(line: string): [string, number[]] {
  const numbers: number[] = [];
  const rest = line.replaceAll(/\d+(?:\.\d+)?/g, (number) => (numbers.push(Number(number)), "#"));
  return [rest, numbers];
}

test("npm start trains a pirate, and prints what README.md says that it prints", async () => {
  const child = Bun.spawn([process.execPath, "scripts/start.ts"], {
    cwd: ROOT,
    env: cleanEnvironment(),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect([status, stderr]).toEqual([0, expect.not.stringContaining("error")]);
  const readme = await Bun.file(join(ROOT, "README.md")).text();
  const [, shown = ""] = /\$ npm start\n[^\n]*\n([^]*?)\n\n\$ npm run build/.exec(readme) ?? [];
  const printed = stdout.split("\n").map(parts);
  const lines = shown.split("\n").map(parts);
  expect(lines.length).toBeGreaterThan(5);
  for (const [text, numbers] of lines) {
    const found = printed.filter(([other]) => other === text);
    expect(found.length, text).toBeGreaterThan(0);
    expect(found.map(([, values]) => values)).toContainEqual(numbers.map((value) => expect.closeTo(value, 2)));
  }
});
