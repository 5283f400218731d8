import { afterEach, beforeEach, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { History, historyFile } from "./history.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "randlora-history-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test("texts come back in the next run, for their owner's eyes only", () => {
  const path = join(folder, "state", "history");
  const first = History.load(path);
  for (const text of ["one", "two\nlines", "two\nlines", "  ", "drei 埋"]) first.add(text);
  expect(History.load(path).entries).toEqual(["one", "two\nlines", "drei 埋"]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(join(folder, "state")).mode & 0o777).toBe(0o700);
});

test("two runs at once both keep theirs", () => {
  const path = join(folder, "history");
  const [a, b] = [History.load(path), History.load(path)];
  a.add("from a");
  b.add("from b");
  a.add("again");
  expect(History.load(path).entries).toEqual(["from a", "from b", "again"]);
});

test("lines that are no texts are passed over", () => {
  const path = join(folder, "history");
  writeFileSync(path, '"one"\nnonsense\n42\n"torn');
  appendFileSync(path, '\n"two"\n');
  expect(History.load(path).entries).toEqual(["one", "two"]);
});

test("the file does not grow for ever", () => {
  const path = join(folder, "history");
  writeFileSync(path, Array.from({ length: 2500 }, (_, index) => `"text ${index}"\n`).join(""), { mode: 0o644 });
  const history = History.load(path);
  expect(history.entries).toHaveLength(1000);
  expect(history.entries.at(-1)).toBe("text 2499");
  expect(readFileSync(path, "utf8").split("\n")).toHaveLength(1001);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  history.add("x".repeat(100_000));
  expect(history.entries.at(-1)).toHaveLength(100_000);
  expect(statSync(path).size).toBeLessThan(50_000);
});

test("a history that cannot be kept is kept in memory", () => {
  writeFileSync(join(folder, "file"), "");
  const history = History.load(join(folder, "file", "history"));
  history.add("one");
  expect(history.entries).toEqual(["one"]);
});

test("it lies where the XDG base directories say", () => {
  expect(historyFile({ XDG_STATE_HOME: "/state" })).toBe("/state/randlora/history");
  const home = join(homedir(), ".local/state/randlora/history");
  expect([historyFile({}), historyFile({ XDG_STATE_HOME: "relative" })]).toEqual([home, home]);
});
