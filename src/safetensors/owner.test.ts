import { expect, test } from "bun:test";
import { stat, utimes, writeFile } from "node:fs/promises";
import { isAlive, keepAlive, ownerName, parseOwner, self } from "./owner.ts";
import { TemporaryFolder } from "./testing.ts";

test("this process runs, and is not an earlier one of the same id", () => {
  expect(isAlive(self(), 0)).toBe(true);
  expect(self().pid).toBe(process.pid);
  if (process.platform === "linux") {
    expect(self().start).toBeGreaterThan(0);
    expect(isAlive({ ...self(), start: self().start - 1 }, Date.now())).toBe(false);
  }
  // Where the system does not say when a process started, the id alone counts.
  expect(isAlive({ ...self(), start: 0 }, 0)).toBe(true);
});

test("another user's process runs; one that has ended does not", async () => {
  if (process.platform !== "win32") expect(isAlive({ ...self(), pid: 1, start: 0 }, 0)).toBe(true);
  await using child = Bun.spawn([process.execPath, "-e", "setTimeout(() => {}, 60000)"]);
  expect(isAlive({ ...self(), pid: child.pid, start: 0 }, 0)).toBe(true);
  child.kill("SIGKILL");
  await child.exited;
  expect(isAlive({ ...self(), pid: child.pid, start: 0 }, 0)).toBe(false);
});

test("a process on another machine runs until it was silent for long, whatever runs here under its id", () => {
  const elsewhere = { ...self(), place: "00000000" };
  expect(parseOwner(ownerName(elsewhere))).toEqual(elsewhere);
  expect(isAlive(elsewhere, Date.now())).toBe(true);
  expect(isAlive({ ...elsewhere, pid: 999_999_999 }, Date.now() - 60_000)).toBe(true);
  expect(isAlive(elsewhere, Date.now() - 3_600_000)).toBe(false);
});

test("names without a place, of earlier versions, are of this machine; others are nobody's", () => {
  expect(parseOwner("12-34")).toEqual({ ...self(), pid: 12, start: 34 });
  for (const name of ["", "12", "x-12-34", "0-12-34", "12-34-"]) expect(parseOwner(name)).toBeUndefined();
});

test("what is kept alive is never old", async () => {
  await using folder = await TemporaryFolder.create();
  const lock = folder.at("lock");
  await writeFile(lock, "");
  await utimes(lock, new Date(0), new Date(0));
  const end = keepAlive(lock, 1);
  while ((await stat(lock)).mtimeMs === 0) await Bun.sleep(1);
  end();
});
