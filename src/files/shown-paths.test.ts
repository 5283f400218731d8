import { expect, test } from "bun:test";
import { showPathAs, shownMessage } from "./shown-paths.ts";
import { modelTitle } from "./run-names.ts";

test("a folder of the cache is called as the user named the file, whatever that name holds", () => {
  showPathAs("/cache/gguf/model-1", "a$&b$$.gguf");
  expect(shownMessage("/cache/gguf/model-1/config.json: broken\u001b")).toBe("a$&b$$.gguf/config.json: broken␛");
});

test("a model is called by the last part of its path, and by its whole name on the Hub", () => {
  expect(["/models/x", "org/name", "models/x", "embedded"].map(modelTitle)).toEqual([
    "x",
    "org/name",
    "models/x",
    "embedded",
  ]);
});
