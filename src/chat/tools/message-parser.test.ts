import { describe, expect, test } from "bun:test";
import { CALL_FORMATS, callFormatOf } from "./formats.ts";
import { MessageParser, type MessageParserOptions } from "./message-parser.ts";

const [HERMES, MISTRAL, LLAMA] = CALL_FORMATS;

/** An answer taken apart, handed over in pieces of some length; ids are left out. */
function apart(text: string, options: MessageParserOptions, length: number) {
  const parser = new MessageParser(options);
  const pieces = Array.from({ length: Math.ceil(text.length / length) }, (_, at) =>
    parser.push(text.slice(at * length, (at + 1) * length)),
  );
  const parts = [...pieces, parser.end()];
  return {
    content: parts.map(({ content }) => content).join(""),
    reasoning: parts.map(({ reasoning }) => reasoning).join(""),
    calls: parts.flatMap(({ calls }) => calls.map(({ name, arguments: given }) => `${name} ${given}`)),
  };
}

const CALL = '{"name": "f", "arguments": {"a": 1}}';
const THOUGHT = { thinking: "maybe" } as const;

describe.each([1, 3, 1000])("in pieces of %d", (length) => {
  test.each<[string, MessageParserOptions, { content?: string; reasoning?: string; calls?: string[] }]>([
    ["Hi <there> ", {}, { content: "Hi <there> " }],
    ["<think>a</think>b", {}, { content: "<think>a</think>b" }],
    ["\n<think>\nso, </thin> so\n</think>\n\nYes.", THOUGHT, { reasoning: "so, </thin> so", content: "Yes." }],
    ["so\n</think>\n\n Yes.", { thinking: "open" }, { reasoning: "so", content: "Yes." }],
    ["never done", { thinking: "open" }, { reasoning: "never done" }],
    ["<thinking> is good", THOUGHT, { content: "<thinking> is good" }],
    ["<th", THOUGHT, { content: "<th" }],
    [`Wait.\n<tool_call>\n${CALL}\n</tool_call>`, { format: HERMES }, { content: "Wait.", calls: ['f {"a":1}'] }],
    [
      `<think>x</think>\n<tool_call>${CALL}</tool_call>\n<tool_call>${CALL}</tool_call>\n`,
      { format: HERMES, ...THOUGHT },
      { reasoning: "x", calls: ['f {"a":1}', 'f {"a":1}'] },
    ],
    ["<tool_call>no call</tool_call> a", { format: HERMES }, { content: "<tool_call>no call</tool_call> a" }],
    [
      '<tool_call>{"name": "f", "arguments": {"a": "\\"</tool_call>"}}</tool_call>b',
      { format: HERMES },
      { content: "b", calls: ['f {"a":"\\"</tool_call>"}'] },
    ],
    ['<tool_call>{"a": "b}</tool_call> c', { format: HERMES }, { content: '<tool_call>{"a": "b}</tool_call> c' }],
    ["a <tool_ca", { format: HERMES }, { content: "a <tool_ca" }],
    [`\n${CALL}\n</tool_call>`, { format: HERMES, inCall: true }, { calls: ['f {"a":1}'] }],
    [` [${CALL}, ${CALL}]`, { format: MISTRAL, inCall: true }, { calls: ['f {"a":1}', 'f {"a":1}'] }],
    [`[TOOL_CALLS] [${CALL}, ${CALL}]`, { format: MISTRAL, single: true }, { calls: ['f {"a":1}'] }],
    [`a\n<tool_call>${CALL}</tool_call>\n b`, { format: HERMES, single: true }, { content: "a", calls: ['f {"a":1}'] }],
    [`[TOOL_CALLS] [${CALL}]`, { format: MISTRAL }, { calls: ['f {"a":1}'] }],
    [
      `<tool_call>${CALL}</tool_call>\n Told you so `,
      { format: HERMES },
      { content: "Told you so ", calls: ['f {"a":1}'] },
    ],
    ['{"name": "f", "parameters": {}}', { format: LLAMA }, { calls: ["f {}"] }],
    ['{"no": "call"} a', { format: LLAMA }, { content: '{"no": "call"} a' }],
    ["Well, {", { format: LLAMA }, { content: "Well, {" }],
    ['["a  <tool_call>"]', { format: HERMES, onlyFirst: true }, { content: '["a  <tool_call>"]' }],
    [
      `<tool_call>${CALL}</tool_call>\n<tool_call>${CALL}</tool_call>`,
      { format: HERMES, onlyFirst: true },
      { calls: ['f {"a":1}', 'f {"a":1}'] },
    ],
  ])("%j", (text, options, wanted) => {
    expect(apart(text, options, length)).toEqual({ content: "", reasoning: "", calls: [], ...wanted });
  });
});

test("a template's format is known by what it writes", () => {
  expect(callFormatOf("{{ tools }}<tool_call>")).toBe(HERMES);
  expect(callFormatOf("{{ tools }}[TOOL_CALLS]")).toBe(MISTRAL);
  expect(callFormatOf("{{ tools }}[TOOL_CALLS]f[ARGS]{}")).toBeUndefined();
  expect(callFormatOf("{{ tools }}ipython")).toBe(LLAMA);
  expect(callFormatOf("<tool_call>")).toBeUndefined();
});
