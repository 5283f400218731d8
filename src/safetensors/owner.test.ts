import { expect, test } from "bun:test";
import { isAlive, self } from "./owner.ts";

test("this process runs, and is not an earlier one of the same id", () => {
  expect(isAlive(self())).toBe(true);
  expect(self().pid).toBe(process.pid);
  if (process.platform === "linux") {
    expect(self().start).toBeGreaterThan(0);
    expect(isAlive({ pid: process.pid, start: self().start - 1 })).toBe(false);
  }
  // Where the system does not say when a process started, the id alone counts.
  expect(isAlive({ pid: process.pid, start: 0 })).toBe(true);
});

test("another user's process runs; one that has ended does not", async () => {
  if (process.platform !== "win32") expect(isAlive({ pid: 1, start: 0 })).toBe(true);
  await using child = Bun.spawn([process.execPath, "-e", "setTimeout(() => {}, 60000)"]);
  expect(isAlive({ pid: child.pid, start: 0 })).toBe(true);
  child.kill("SIGKILL");
  await child.exited;
  expect(isAlive({ pid: child.pid, start: 0 })).toBe(false);
});
