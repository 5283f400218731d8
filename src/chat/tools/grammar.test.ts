import { expect, test } from "bun:test";
import { schemaGrammar } from "../grammar/json-schema.ts";
import { statesOf } from "../grammar/states.ts";
import { follows } from "../grammar/testing/write.ts";
import { CALL_FORMATS } from "./formats.ts";
import { callGrammar } from "./grammar.ts";

const [format] = CALL_FORMATS;

test("the schemas of all tools together are bounded, and each is its own document", () => {
  if (format === undefined) throw new Error("no format");
  const tools = (pattern: string) =>
    Array.from({ length: 128 }, (_, at) => ({
      name: `f${at}`,
      strict: false,
      parameters: { properties: { a: { $ref: "#/$defs/a" } }, $defs: { a: { pattern: `${at}${pattern}` } } },
    }));
  expect(statesOf(callGrammar(tools("[a-z]"), format, true)).shortest.every((bytes) => bytes >= 0)).toBeTrue();
  // Each set of characters of a pattern is asked for hundreds of them.
  expect(() => callGrammar(tools("[^a]".repeat(200)), format, true)).toThrow("more than 20000 parts");
});

test("where a format may be followed as well an answer is all calls, or all of that", () => {
  const parameters = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };
  const said = schemaGrammar({ type: "array", items: { const: 1 } });
  const tools = [{ name: "f", parameters, strict: true }];
  for (const [one, open, call] of [
    [CALL_FORMATS[0], "<tool_call>", (given: string) => `\n{"name": "f", "arguments": ${given}}\n</tool_call>`],
    [CALL_FORMATS[1], "[TOOL_CALLS]", (given: string) => ` [{"name": "f", "arguments": ${given}}]`],
  ] as const) {
    if (one === undefined) throw new Error("no format");
    const follow = (text: string) => follows(callGrammar(tools, one, true, said), text);
    expect(
      ["[1, 1]", open + call('{"a":1}'), open + call("{}"), call('{"a":1}'), "[2]", `[1]${open}`].map(follow),
    ).toEqual([true, true, false, false, false, false]);
  }
});

test("arguments are an object, whatever the schema leaves open", () => {
  if (format === undefined) throw new Error("no format");
  const grammar = (parameters: object) => callGrammar([{ name: "f", parameters, strict: false }], format, false);
  const call = (given: string) => `\n{"name": "f", "arguments": ${given}}\n</tool_call>`;
  const open = [{}, { type: ["object", "null"] }, { $ref: "#/$defs/a", $defs: { a: { description: "any" } } }];
  for (const parameters of open) {
    expect([follows(grammar(parameters), call('{"a":1}')), follows(grammar(parameters), call("null"))]).toEqual([
      true,
      false,
    ]);
  }
  expect(() => grammar({ type: "string" })).toThrow('the parameters of f: type must be "object"');
});
