import { expect, test } from "bun:test";
import type { Grammar } from "../grammar/grammar.ts";
import { follows } from "../grammar/testing/write.ts";
import { CALL_FORMATS } from "./formats.ts";
import { openGrammar } from "./open-grammar.ts";

const [HERMES, MISTRAL, LLAMA] = CALL_FORMATS;
const parameters = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };
const TOOLS = [
  { name: "f", parameters, strict: true },
  { name: "g", parameters, strict: false },
];

function grammarOf(format: typeof HERMES, several = true): Grammar {
  if (format === undefined) throw new Error("no format");
  return openGrammar(TOOLS, format, several);
}

const call = (name: string, given: string, key = "arguments") => `{"name": "${name}", "${key}": ${given}}`;
const marked = (inside: string) => `<tool_call>\n${inside}\n</tool_call>`;

test.each([
  ["", true],
  ["Any text, é <tool <tool_cal <<tool_ca", true],
  ["<tool_call", true],
  [`Wait. <${marked(call("f", '{"a": 1}'))}\nThen ${marked(call("g", '{"b": []}'))} done`, true],
  [marked(call("f", '{"a": "1"}')), false],
  [marked(call("f", "{}")), false],
  [marked(call("h", "{}")), false],
  [marked("no call"), false],
  ["<tool_call>", false],
])("Hermes: %j: %p", (text, allowed) => {
  expect(follows(grammarOf(HERMES), text)).toBe(allowed);
});

test("of one call the answer ends behind it", () => {
  const one = marked(call("f", '{"a":1}'));
  expect([one, `Well: ${one}`, `${one} and`].map((text) => follows(grammarOf(HERMES, false), text))).toEqual([
    true,
    true,
    false,
  ]);
});

test("Mistral's list, and Llama's answer that is a call or begins otherwise", () => {
  const list = (name: string, given: string) => `Hm [TOOL_CALLS] [${call(name, given)}, ${call("g", "{}")}]`;
  expect(follows(grammarOf(MISTRAL), list("f", '{"a":1}'))).toBeTrue();
  expect(follows(grammarOf(MISTRAL), list("f", '{"a":null}'))).toBeFalse();
  const answers = [
    ` \n${call("f", '{"a":1}', "parameters")}`,
    " a {",
    "“{",
    "",
    " { }",
    call("f", "{}", "parameters"),
    "\u00a0{}",
  ];
  expect(answers.map((text) => follows(grammarOf(LLAMA), text))).toEqual([true, true, true, true, false, false, false]);
});
