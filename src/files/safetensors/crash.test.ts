import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { readdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { Publication } from "../publish.ts";
import { publishGeneration, readGeneration } from "./testing/writer.ts";
import { SafetensorsWriter } from "./writer.ts";
import { TemporaryFolder, refusalOf } from "../testing/folder.ts";
import { start } from "../testing/process.ts";
import { randomFrom } from "../testing/seed.ts";

const WRITER = join(import.meta.dir, "testing/writer.ts");
const KILLS = 5;

const random = randomFrom();

/** Starts a writer, and kills it when it has begun and some milliseconds have passed. @returns whether it was still at work */
async function writeAndKill(path: string, kind: string, mode: string, delay: number): Promise<boolean> {
  const child = start([process.execPath, WRITER, path, kind, mode, "1000000"]);
  const reader = child.stdout.getReader();
  await reader.read();
  await Bun.sleep(delay);
  child.kill("SIGKILL");
  await child.exited;
  await reader.cancel();
  return child.signalCode === "SIGKILL";
}

describe.each(["file", "folder"] as const)("a process that is killed while it writes a %s", (kind) => {
  test("leaves nothing or the complete output under its name, and the next start removes the rest", async () => {
    await using folder = await TemporaryFolder.create();
    let [tries, delay] = [0, 12];
    for (let landed = 0; landed < KILLS;) {
      // One name for each: whether something is there before the kill depends on the delay.
      const path = folder.at(`out${tries++}`);
      const wasKilled = await writeAndKill(path, kind, "once", random() * delay);
      if (existsSync(path)) expect(await readGeneration(path)).toBe(1);
      // A writer that was done was killed too late, and the next one is sooner.
      if (wasKilled && !existsSync(path)) landed++;
      else delay /= 2;
      await publishGeneration(path, kind, 2, { force: true, bytes: 1000 });
      expect(await readGeneration(path)).toBe(2);
      expect(tries).toBeLessThan(6 * KILLS);
    }
    expect(await readdir(folder.path)).toHaveLength(tries);
  });

  test("leaves the old or the complete new output when it replaces one", async () => {
    await using folder = await TemporaryFolder.create();
    const path = folder.at("out");
    await publishGeneration(path, kind, 0, { force: false, bytes: 1000 });
    for (let i = 0; i < KILLS; i++) {
      expect(await writeAndKill(path, kind, "replace", random() * 40)).toBe(true);
      expect(await readGeneration(path)).toBeWithin(0, 256);
    }
    await publishGeneration(path, kind, 7, { force: true, bytes: 1000 });
    expect(await readGeneration(path)).toBe(7);
    expect(await readdir(folder.path)).toEqual(["out"]);
  });
});

test.skipIf(!existsSync("/dev/full"))("a disk that is full: /dev/full under the part of a folder", async () => {
  await using folder = await TemporaryFolder.create();
  const write = async () => {
    await using output = await Publication.begin(folder.at("out"), { kind: "folder" });
    const path = join(output.partPath, "model.safetensors");
    await symlink("/dev/full", path);
    await using writer = await SafetensorsWriter.create(path, [{ name: "w", dtype: "U8", shape: [1] }]);
    await writer.append("w", new Uint8Array(1));
  };
  const refusal = await refusalOf(write);
  expect([refusal.code, refusal.message]).toEqual([
    "file",
    expect.stringMatching(/model.safetensors: the disk is full$/),
  ]);
  expect(refusal.hint).toContain("free some space");
  expect(await readdir(folder.path)).toEqual([]);
});
