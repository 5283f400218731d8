import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { holdElsewhere } from "../../files/testing/lock.ts";
import { readRunFolder } from "./runs.ts";

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

test("steps that no state has count only while the run is trained", async () => {
  const folder = await mkdtemp(join(tmpdir(), "randlora-run-"));
  try {
    await writeFile(join(folder, "run.json"), JSON.stringify({ model: "m", method: "lora" }));
    await writeFile(join(folder, "metrics.jsonl"), '{"step":1,"loss":2}\n{"step":2,"loss":2}\n');
    const holder = await holdElsewhere(join(folder, "lock.OWNER"), "file");
    expect(await readRunFolder(folder)).toMatchObject({ state: "running", steps: 2 });
    await holder.kill();
    expect(await readRunFolder(folder)).toMatchObject({ state: "interrupted", steps: 0 });
  } finally {
    await rm(folder, { recursive: true });
  }
});
