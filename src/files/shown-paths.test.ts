import { expect, test } from "bun:test";
import { showPathAs, shownMessage } from "./shown-paths.ts";

test("a folder of the cache is called as the user named the file, whatever that name holds", () => {
  showPathAs("/cache/gguf/model-1", "a$&b$$.gguf");
  expect(shownMessage("/cache/gguf/model-1/config.json: broken\u001b")).toBe("a$&b$$.gguf/config.json: broken␛");
});
