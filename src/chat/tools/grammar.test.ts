import { expect, test } from "bun:test";
import { statesOf } from "../grammar/states.ts";
import { CALL_FORMATS } from "./formats.ts";
import { callGrammar } from "./grammar.ts";

const [format] = CALL_FORMATS;

test("the schemas of all tools together are bounded, and each is its own document", () => {
  if (format === undefined) throw new Error("no format");
  const tools = (pattern: string) =>
    Array.from({ length: 128 }, (_, at) => ({
      name: `f${at}`,
      parameters: { properties: { a: { $ref: "#/$defs/a" } }, $defs: { a: { pattern: `${at}${pattern}` } } },
    }));
  expect(statesOf(callGrammar(tools("[a-z]"), format, true)).shortest.every((bytes) => bytes >= 0)).toBeTrue();
  // Each set of characters of a pattern is asked for hundreds of them.
  expect(() => callGrammar(tools("[^a]".repeat(200)), format, true)).toThrow("more than 20000 parts");
});
