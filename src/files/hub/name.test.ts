import { afterAll, beforeAll, expect, test } from "bun:test";
import { assert, constantFrom, property, string } from "fast-check";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { TemporaryFolder } from "../testing/folder.ts";
import { formatHubName, isCommit, parseHubName, parseRepository } from "./name.ts";

const { path: folder } = await TemporaryFolder.forTests();
const home = process.cwd();
beforeAll(() => process.chdir(folder));
afterAll(() => process.chdir(home));

test("reads org/name with and without a revision", () => {
  expect(parseHubName("HuggingFaceTB/SmolLM2-135M-Instruct")).toEqual({
    repo: "HuggingFaceTB/SmolLM2-135M-Instruct",
    revision: "main",
  });
  expect(parseHubName("a/b.c_d-e@v1.0")).toEqual({ repo: "a/b.c_d-e", revision: "v1.0" });
  expect(parseHubName("a/b@refs/pr/3")).toEqual({ repo: "a/b", revision: "refs/pr/3" });
});

test("an existing path is never a Hub name", () => {
  expect(parseHubName("org/model")).toBeDefined();
  mkdirSync(join(folder, "org", "model@v1"), { recursive: true });
  mkdirSync(join(folder, "org", "model"), { recursive: true });
  expect(parseHubName("org/model")).toBeUndefined();
  expect(parseHubName("org/model@v1")).toBeUndefined();
  expect(parseHubName("org/model@v2")).toEqual({ repo: "org/model", revision: "v2" });
  expect(parseRepository("org/model")).toEqual({ repo: "org/model", revision: "main" });
});

const NOT_NAMES = [
  "",
  "gpt2",
  "./org/model",
  "../model",
  "/org/model",
  "~/model",
  "org/model/",
  "a/b/c",
  "C:\\model",
  "org\\model",
  "org/model.safetensors",
  "org/model.safetensors.index.json",
  "org/model.git",
  "org--x/model",
  "org/mo..del",
  "-org/model",
  "org/.model",
  "org/model ",
  "org/model@",
  "org/model@../../x",
  "org/model@/x",
  "org/model@a//b",
  "org/model@.hidden",
  "org/model@a b",
  "org/model@a@b",
  `org/${"x".repeat(93)}`,
];

test.each(NOT_NAMES)("%p is not a Hub name", (text) => {
  expect(parseHubName(text)).toBeUndefined();
});

test("whatever is read is written back, and stays inside its folder", () => {
  const character = constantFrom("a", "Z", "0", "-", "_", ".", "/", "@", "~", " ", "\\", "é");
  assert(
    property(string({ unit: character, maxLength: 12 }), (text) => {
      const name = parseRepository(text);
      if (name === undefined) return;
      expect([text, text.replace(/@main$/, "")]).toContain(formatHubName(name));
      expect(join("refs", name.revision).startsWith("refs")).toBe(true);
      expect(name.repo.split("/")).toHaveLength(2);
    }),
    { numRuns: 2000 },
  );
});

test("only forty hexadecimal digits are a commit", () => {
  expect(isCommit("0123456789abcdef0123456789abcdef01234567")).toBe(true);
  expect(isCommit("0123456789abcdef")).toBe(false);
  expect(isCommit("main")).toBe(false);
});
