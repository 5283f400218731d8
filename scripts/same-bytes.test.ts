import { expect, test } from "bun:test";
import { join } from "node:path";
import { runToEnd } from "../src/files/testing/process.ts";

test("a case that does not exist is no case in which nothing differs", async () => {
  const program = [process.execPath, join(import.meta.dir, "same-bytes.ts"), "HEAD", "merge"];
  const { status, stderr } = await runToEnd(program);
  expect([status, stderr]).toEqual([2, expect.stringMatching(/^no case merge; there are: merges, /)]);
});
