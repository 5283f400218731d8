import { describe, expect, test } from "bun:test";
import { mkdir, rename, rm, utimes, writeFile } from "node:fs/promises";
import { claim, createLocked, FileLock } from "./lock.ts";
import { self } from "./owner.ts";
import { holdElsewhere } from "./testing/lock.ts";
import { TemporaryFolder } from "./testing/folder.ts";

const ELSEWHERE = { ...self(), place: "000000000000" };
const local = async () => true;
const shared = async () => false;

describe.skipIf(process.platform === "win32").each(["file", "folder"] as const)("a locked %s", (kind) => {
  const make = (path: string) => (kind === "file" ? writeFile(path, "") : mkdir(path));

  test("is held by its process alone, however old it looks and whatever its name says, until that is killed", async () => {
    await using folder = await TemporaryFolder.create();
    const holder = await holdElsewhere(folder.at("it"), kind);
    await utimes(holder.path, new Date(0), new Date(0));
    const dead = { ...self(), pid: 999_999_999 };
    for (const owner of [self(), dead, ELSEWHERE, undefined])
      expect(await claim(holder.path, owner, shared)).toBe("held");
    await holder.kill();
    const claimed = await claim(holder.path, { ...self(), pid: holder.pid });
    expect(claimed).toBeInstanceOf(FileLock);
    // Whoever claims it has it alone; this process is no exception.
    expect(await claim(holder.path, self())).toBe("held");
    if (claimed instanceof FileLock) claimed[Symbol.dispose]();
  });

  test("stays locked under another name; what has been removed or replaced is not it", async () => {
    await using folder = await TemporaryFolder.create();
    using lock = await createLocked(folder.at("it"), () => make(folder.at("it")));
    await rename(folder.at("it"), folder.at("moved"));
    expect([lock?.isAt(folder.at("moved")), lock?.isAt(folder.at("it"))]).toEqual([true, false]);
    expect(await claim(folder.at("moved"), self())).toBe("held");
    await rm(folder.at("moved"), { recursive: true });
    await make(folder.at("moved"));
    expect(lock?.isAt(folder.at("moved"))).toBe(false);
    expect(await claim(folder.at("nothing"), self())).toBe("gone");
  });

  test("that is free was left, but on a disk of several machines by this one's processes alone", async () => {
    await using folder = await TemporaryFolder.create();
    await make(folder.at("it"));
    expect(await claim(folder.at("it"), ELSEWHERE, shared)).toBe("elsewhere");
    for (const [owner, isLocal] of [
      [ELSEWHERE, local],
      [self(), shared],
      [undefined, shared],
    ] as const) {
      const claimed = await claim(folder.at("it"), owner, isLocal);
      expect(claimed).toBeInstanceOf(FileLock);
      if (claimed instanceof FileLock) claimed[Symbol.dispose]();
    }
  });
});

test.skipIf(process.platform === "win32")("many that want the same get it one after another", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("it");
  let holders = 0;
  const work = async () => {
    using lock = await createLocked(path, () => writeFile(path, "", { flag: "wx" }));
    if (lock === undefined) return;
    expect(holders++).toBe(0);
    await Bun.sleep(1);
    holders--;
  };
  await Promise.all(Array.from({ length: 8 }, work));
});
