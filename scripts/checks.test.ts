import { expect, test } from "bun:test";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");

// The same three that `npm run ok` starts with, so that no way of running the tests leaves them out.
test.each(["format:check", "lint", "types"])(
  "npm run %s",
  async (script) => {
    const child = Bun.spawn([process.execPath, "run", "--silent", script], {
      cwd: ROOT,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    expect(status === 0 ? "" : stdout + stderr).toBe("");
  },
  120_000,
);
