import { afterAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { readdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { Publication } from "../publish.ts";
import { mounting } from "../testing/mount.ts";
import { publishGeneration, readGeneration } from "./testing/writer.ts";
import { SafetensorsWriter } from "./writer.ts";
import { TemporaryFolder, refusalOf } from "../testing/folder.ts";

const WRITER = join(import.meta.dir, "testing/writer.ts");
const KINDS = ["file", "folder"] as const;
const KILLS = 10;

/** Starts a writer, waits until it has begun and then for some milliseconds, and kills it. */
async function writeAndKill(path: string, kind: string, mode: string, delay: number): Promise<void> {
  const child = Bun.spawn([process.execPath, WRITER, path, kind, mode, "400000"], { stdout: "pipe" });
  const reader = child.stdout.getReader();
  await reader.read();
  await Bun.sleep(delay);
  child.kill("SIGKILL");
  await child.exited;
  await reader.cancel();
}

for (const kind of KINDS) {
  describe(`a process that is killed while it writes a ${kind}`, () => {
    test("leaves nothing or the complete output under its name, and the next start removes the rest", async () => {
      await using folder = await TemporaryFolder.create();
      for (let i = 0; i < KILLS; i++) {
        // One name for each: whether something is there before the kill depends on the delay.
        const path = folder.at(`out${i}`);
        await writeAndKill(path, kind, "once", Math.random() * 12);
        if (existsSync(path)) expect(await readGeneration(path)).toBe(1);
        await publishGeneration(path, kind, 2, { force: true, bytes: 1000 });
        expect(await readGeneration(path)).toBe(2);
      }
      expect(await readdir(folder.path)).toHaveLength(KILLS);
    }, 60_000);

    test("leaves the old or the complete new output when it replaces one", async () => {
      await using folder = await TemporaryFolder.create();
      const path = folder.at("out");
      await publishGeneration(path, kind, 0, { force: false, bytes: 1000 });
      for (let i = 0; i < KILLS; i++) {
        await writeAndKill(path, kind, "replace", Math.random() * 40);
        expect(await readGeneration(path)).toBeWithin(0, 256);
      }
      await publishGeneration(path, kind, 7, { force: true, bytes: 1000 });
      expect(await readGeneration(path)).toBe(7);
      expect(await readdir(folder.path)).toEqual(["out"]);
    }, 60_000);
  });
}

const unshare = mounting();
if (unshare !== undefined) {
  describe("a disk that is full: a tmpfs of 1 MB", () => {
    const script = `mount -t tmpfs -o size=1m tmpfs "$1" && cd "$1" || exit 9
      "$2" "$3" "$1/out" "$4" once 100000
      "$2" "$3" "$1/out" "$4" replace 5000000; echo "status $?"
      "$2" "$3" "$1/new/other" "$4" once 5000000; echo "status $?"
      find . -name '*.part' -o -name new; ls -A`;

    for (const kind of KINDS) {
      test(`is reported with the ${kind}'s path; no part stays, and the old output does`, async () => {
        await using folder = await TemporaryFolder.create();
        const command = [...unshare, "sh", "-c", script, "sh", folder.path, process.execPath, WRITER, kind];
        const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
        const [out, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
        const lines = errors.trim().split("\n");
        expect(lines).toHaveLength(2);
        for (const [i, name] of ["out", "new/other"].entries()) {
          expect(lines[i]).toMatch(new RegExp(`^cannot write ${folder.path}/${name}\\.[-.\\w/]+: the disk is full$`));
        }
        expect(out.split("\n").filter((line) => line !== "begun")).toEqual(["status 1", "status 1", "out", ""]);
      });
    }
  });
}

if (existsSync("/dev/full")) {
  test("a disk that is full: /dev/full under the part of a folder", async () => {
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
}

// What could not be tested on this system is said, not passed over.
afterAll(() => {
  if (unshare === undefined)
    process.stderr.write("note: no tmpfs can be mounted here; a full disk was /dev/full only\n");
});
