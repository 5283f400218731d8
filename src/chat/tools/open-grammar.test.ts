import { expect, test } from "bun:test";
import { HARMONY_MARKS } from "../../data/text/harmony.ts";
import { Automaton, DEAD } from "../grammar/automaton.ts";
import { type Grammar, specialByte } from "../grammar/grammar.ts";
import { statesOf } from "../grammar/states.ts";
import { follows } from "../grammar/testing/write.ts";
import { CALL_FORMATS } from "./formats.ts";
import { openGrammar } from "./answer-formats.ts";

const [HERMES, MISTRAL, LLAMA] = CALL_FORMATS;
const parameters = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };
const TOOLS = [
  { name: "f", parameters, strict: true },
  { name: "g", parameters, strict: false },
];

function grammarOf(format: typeof HERMES, several = true, thinking?: "open" | "maybe"): Grammar {
  if (format === undefined) throw new Error("no format");
  return openGrammar(TOOLS, format, { several, thinking });
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

test.each([
  ["open", ""],
  ["maybe", "\n<think>"],
] as const)("what is thought is free, and what follows it is not: %s", (thinking, begin) => {
  const thought = `${begin}<tool_call> would be a call, </think would not<</think>`;
  const answers = ["Yes.", marked(call("f", '{"a": 1}')), marked(call("f", "{}")), "<tool_call>", ""];
  const follow = (before: string) => answers.map((one) => follows(grammarOf(HERMES, false, thinking), before + one));
  expect(follow(thought)).toEqual([true, true, false, false, true]);
  expect(follows(grammarOf(HERMES, false, thinking), thought.slice(0, -1))).toBeTrue();
  if (thinking === "maybe") expect(follow("")).toEqual([true, true, false, false, true]);
  const text = (given: string) => `${thought}\n${call("f", given, "parameters")}`;
  expect(follows(grammarOf(LLAMA, true, thinking), text('{"a":1}'))).toBeTrue();
});

test("special tokens of another format are no text", () => {
  for (const format of CALL_FORMATS) {
    const automaton = new Automaton(statesOf(grammarOf(format, true, "maybe")));
    for (const begun of ["", "a"]) {
      const state = Array.from(Buffer.from(begun)).reduce(
        (from, byte) => automaton.step(from, byte),
        automaton.start(),
      );
      expect(HARMONY_MARKS.map((token) => automaton.step(state, specialByte(token) ?? -1))).toEqual(
        HARMONY_MARKS.map(() => DEAD),
      );
    }
  }
});
