import { expect, test } from "bun:test";
import { describeOwner, hasSameKernel, isRunning, ownerName, parseOwner, self } from "./owner.ts";

test("this process runs, and is not an earlier one of the same id", () => {
  expect(isRunning(self())).toBe(true);
  expect(self().pid).toBe(process.pid);
  if (process.platform === "linux") {
    expect(self().start).toBeGreaterThan(0);
    expect(isRunning({ ...self(), start: self().start - 1 })).toBe(false);
  }
  // Where the system does not say when a process started, the id alone counts.
  expect(isRunning({ ...self(), start: 0 })).toBe(true);
});

test("another user's process runs; one that has ended does not", async () => {
  if (process.platform !== "win32") expect(isRunning({ ...self(), pid: 1, start: 0 })).toBe(true);
  await using child = Bun.spawn([process.execPath, "-e", "setTimeout(() => {}, 60000)"]);
  expect(isRunning({ ...self(), pid: child.pid, start: 0 })).toBe(true);
  child.kill("SIGKILL");
  await child.exited;
  expect(isRunning({ ...self(), pid: child.pid, start: 0 })).toBe(false);
});

test("of a process on another machine, or in another container, its id tells nothing", () => {
  const { place } = self();
  const elsewhere = { ...self(), place: "000000000000" };
  expect(parseOwner(ownerName(elsewhere))).toEqual(elsewhere);
  expect([isRunning(elsewhere), hasSameKernel(elsewhere)]).toEqual([undefined, false]);
  const container = { ...self(), place: `${place.slice(0, -4)}${place.endsWith("0000") ? "1111" : "0000"}` };
  expect([isRunning(container), hasSameKernel(container)]).toEqual([undefined, true]);
  expect(describeOwner(self())).toBe(`process ${process.pid}`);
  for (const other of [elsewhere, container]) expect(describeOwner(other)).toEndWith("(or in another container)");
});

test("names without a place are nobody's", () => {
  for (const name of ["", "12", "12-34", "x-12-34", "0-12-34", "12-34-"]) expect(parseOwner(name)).toBeUndefined();
});
