import { expect, test } from "bun:test";
import { join } from "node:path";

test("a case that does not exist is no case in which nothing differs", async () => {
  const program = [process.execPath, join(import.meta.dir, "same-bytes.ts"), "HEAD", "merge"];
  const child = Bun.spawn(program, { stdout: "ignore", stderr: "pipe" });
  expect([await child.exited, await child.stderr.text()]).toEqual([
    2,
    expect.stringMatching(/^no case merge; there are: merges, /),
  ]);
});
