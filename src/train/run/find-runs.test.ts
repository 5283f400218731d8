import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readRunFolder } from "./find-runs.ts";

test("a time that no date has is the last date", async () => {
  // A file system in memory keeps such times; others cut them.
  const folder = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "randlora-run-"));
  try {
    await writeFile(join(folder, "run.json"), JSON.stringify({ model: "m", method: "lora" }));
    await utimes(join(folder, "run.json"), 9e13, 9e13);
    const run = await readRunFolder(folder);
    expect(Number.isNaN(new Date(run?.updatedMs ?? Number.NaN).getTime())).toBeFalse();
  } finally {
    await rm(folder, { recursive: true });
  }
});
