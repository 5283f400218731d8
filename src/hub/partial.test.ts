import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { claimPartial, publishPartial, releasePartial } from "./partial.ts";

let folder = "";
let blob = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "randlora-hub-partial-"));
  blob = join(folder, "c0ffee");
});
afterEach(() => rmSync(folder, { recursive: true }));

async function claim(): Promise<string> {
  const path = await claimPartial(blob);
  if (path === undefined) throw new Error("somebody else has it");
  return path;
}

test("one owner at a time; what one leaves the next continues", async () => {
  const first = await claim();
  expect(await claimPartial(blob)).toBeUndefined();
  writeFileSync(first, "half");
  await releasePartial(blob, first);
  const second = await claim();
  expect(readFileSync(second, "utf8")).toBe("half");
  await publishPartial(blob, second);
  expect(readdirSync(folder)).toEqual(["c0ffee"]);
});

test("whoever gives up with less does not spoil what was left before", async () => {
  const mine = await claim();
  writeFileSync(join(folder, "c0ffee.resume.incomplete"), "12345");
  await releasePartial(blob, mine);
  expect(readdirSync(folder)).toEqual(["c0ffee.resume.incomplete"]);
  expect(readFileSync(join(folder, "c0ffee.resume.incomplete"), "utf8")).toBe("12345");
});

test("other blobs are other files", async () => {
  await claim();
  expect(await claimPartial(join(folder, "c0ffe"))).toBeDefined();
});

test("a dead process of this machine owns nothing", async () => {
  const mine = await claim();
  const child = Bun.spawn(["true"]);
  await child.exited;
  const theirs = mine.replace(`-${process.pid}-`, `-${child.pid}-`);
  rmSync(mine);
  writeFileSync(theirs, "left");
  expect(readFileSync(await claim(), "utf8")).toBe("left");
});

test("a live process of this machine keeps its file, however old", async () => {
  const mine = await claim();
  utimesSync(mine, new Date(0), new Date(0));
  expect(await claimPartial(blob)).toBeUndefined();
});

test("another machine's file is taken over only after a long silence", async () => {
  const theirs = join(folder, "c0ffee.00000000-1-2-3.incomplete");
  writeFileSync(theirs, "theirs");
  expect(await claimPartial(blob)).toBeUndefined();
  const longAgo = new Date(Date.now() - 3_600_000);
  utimesSync(theirs, longAgo, longAgo);
  expect(readFileSync(await claim(), "utf8")).toBe("theirs");
});

test("the largest part is continued, the others go when the blob is there", async () => {
  writeFileSync(join(folder, "c0ffee.resume.incomplete"), "1");
  const dead = join(folder, "c0ffee.00000000-1-2-3.incomplete");
  writeFileSync(dead, "12345");
  utimesSync(dead, new Date(0), new Date(0));
  const mine = await claim();
  expect(readFileSync(mine, "utf8")).toBe("12345");
  await publishPartial(blob, mine);
  expect(readdirSync(folder)).toEqual(["c0ffee"]);
});

test("many at once: never two with the same file, and one at least goes on", async () => {
  writeFileSync(join(folder, "c0ffee.resume.incomplete"), "part");
  const claims = await Promise.all(Array.from({ length: 8 }, () => claimPartial(blob)));
  const won = claims.flatMap((path) => path ?? []);
  expect(won.length).toBeGreaterThan(0);
  expect(new Set(won).size).toBe(won.length);
  expect(won.map((path) => readFileSync(path, "utf8")).filter((text) => text === "part").length).toBeLessThan(2);
  expect(basename(won[0] ?? "")).toMatch(/^c0ffee\.[0-9a-f]{8}-\d+-\d+-\d+\.incomplete$/);
});
