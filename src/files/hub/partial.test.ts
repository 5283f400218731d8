import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { TemporaryFolder } from "../testing/folder.ts";
import { holdElsewhere } from "../testing/lock.ts";
import { Partial } from "./partial.ts";

let temporary: TemporaryFolder;
let folder = "";
let blob = "";
beforeEach(async () => {
  temporary = await TemporaryFolder.create();
  folder = temporary.path;
  blob = join(folder, "c0ffee");
});
afterEach(() => temporary[Symbol.asyncDispose]());

async function claim(): Promise<Partial> {
  const partial = await Partial.claim(blob);
  if (partial === undefined) throw new Error("somebody else has it");
  return partial;
}

test("one owner at a time; what one leaves the next continues", async () => {
  const first = await claim();
  expect(await Partial.claim(blob)).toBeUndefined();
  writeFileSync(first.path, "half");
  await first.release();
  const second = await claim();
  expect(readFileSync(second.path, "utf8")).toBe("half");
  await second.publish();
  expect(readdirSync(folder)).toEqual(["c0ffee"]);
});

test("whoever gives up with less does not spoil what was left before", async () => {
  const mine = await claim();
  writeFileSync(join(folder, "c0ffee.resume.incomplete"), "12345");
  await mine.release();
  expect(readdirSync(folder)).toEqual(["c0ffee.resume.incomplete"]);
  expect(readFileSync(join(folder, "c0ffee.resume.incomplete"), "utf8")).toBe("12345");
});

test("other blobs are other files", async () => {
  await claim();
  expect(await Partial.claim(join(folder, "c0ffe"))).toBeDefined();
});

test("what a live process is at is its own, however old; what a killed one left is taken over", async () => {
  const holder = await holdElsewhere(join(folder, "c0ffee.OWNER-0.incomplete"), "file");
  writeFileSync(holder.path, "left");
  utimesSync(holder.path, new Date(0), new Date(0));
  expect(await Partial.claim(blob)).toBeUndefined();
  await holder.kill();
  const mine = await claim();
  expect(readFileSync(mine.path, "utf8")).toBe("left");
  // Under its new name it is ours, not the dead one's.
  expect(await Partial.claim(blob)).toBeUndefined();
});

test("the largest part is continued, the others go when the blob is there", async () => {
  writeFileSync(join(folder, "c0ffee.resume.incomplete"), "1");
  const dead = join(folder, "c0ffee.00000000-1-2-3.incomplete");
  writeFileSync(dead, "12345");
  const mine = await claim();
  expect(readFileSync(mine.path, "utf8")).toBe("12345");
  await mine.publish();
  expect(readdirSync(folder)).toEqual(["c0ffee"]);
});

test("many at once: never two with the same file, and one at least goes on", async () => {
  writeFileSync(join(folder, "c0ffee.resume.incomplete"), "part");
  const claims = await Promise.all(Array.from({ length: 8 }, () => Partial.claim(blob)));
  const won = claims.flatMap((partial) => partial?.path ?? []);
  expect(won.length).toBeGreaterThan(0);
  expect(new Set(won).size).toBe(won.length);
  expect(won.map((path) => readFileSync(path, "utf8")).filter((text) => text === "part").length).toBeLessThan(2);
  expect(basename(won[0] ?? "")).toMatch(/^c0ffee\.[0-9a-f]{12}-\d+-\d+-\d+\.incomplete$/);
});

test.skipIf(process.getuid?.() === 0)(
  "in a folder that may not be written, what is left is no reason to wait",
  async () => {
    writeFileSync(join(folder, "c0ffee.resume.incomplete"), "part");
    chmodSync(folder, 0o555);
    await expect(Partial.claim(blob)).rejects.toMatchObject({ code: "file" });
    chmodSync(folder, 0o755);
  },
);
