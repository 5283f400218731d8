import { expect, test } from "bun:test";
import { join } from "node:path";
import { cleanEnvironment } from "../../files/testing/process.ts";

/** The adapted modules that a dry run of `randlora finetune` on the embedded model counts. */
async function adapted(targets: string): Promise<unknown> {
  const command = [
    process.execPath,
    join(import.meta.dir, "../../../cmd/main.ts"),
    "finetune",
    "--quiet",
    "--targets",
    targets,
  ];
  const child = Bun.spawn([...command, "--dry-run", "--json"], {
    env: cleanEnvironment(),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect([status, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout);
}

test("--targets all-linear is itself in any case, as in PEFT", async () => {
  expect(await adapted("ALL-Linear")).toEqual(await adapted("all-linear"));
});
