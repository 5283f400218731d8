import { expect, test } from "bun:test";
import { join } from "node:path";
import { runToEnd } from "../src/files/testing/process.ts";

const ROOT = join(import.meta.dir, "..");

// The same three that `npm run ok` starts with, so that no way of running the tests leaves them out.
test.each(["format:check", "lint", "types"])("npm run %s", async (script) => {
  const command = [process.execPath, "run", "--silent", script];
  const { status, stdout, stderr } = await runToEnd(command, { cwd: ROOT });
  expect(status === 0 ? "" : stdout + stderr).toBe("");
});
