import { expect, test } from "bun:test";
import { follows } from "../grammar/testing/write.ts";
import { CALL_FORMATS, callFormatOf } from "./formats.ts";
import { callGrammar } from "./grammar.ts";
import { MessageParser } from "./message-parser.ts";

const format = callFormatOf("{{ tools }}<tool_call>\\n<function=example>");
const parameters = {
  type: "object",
  properties: {
    path: { type: "string" },
    lines: { $ref: "#/$defs/lines" },
    mode: { enum: ["read", "write"] },
    force: { type: "boolean" },
    note: { anyOf: [{ type: "string" }, { type: "null" }] },
  },
  required: ["path", "lines"],
  $defs: { lines: { type: "array", items: { type: "integer" } } },
};
const tools = [{ name: "edit", parameters, strict: true }];

const parameter = (key: string, value: string) => `<parameter=${key}>\n${value}\n</parameter>\n`;
const call = (...given: string[]) => `\n<function=edit>\n${given.join("")}</function>\n</tool_call>`;

test("templates say which dialect of <tool_call> a model writes; one that is not known is none", () => {
  expect(format?.name).toBe("Qwen3-Coder, Qwen 3.5");
  expect(callFormatOf('{{ tools }}<tool_call>\\n{"name": ')).toBe(CALL_FORMATS[0]);
  expect(callFormatOf("{{ tools }}<tool_call>f\\n<arg_key>a</arg_key>")).toBeUndefined();
});

test.each([1, 7, 1000])("calls are read with the types of their schemas, in pieces of %d", (length) => {
  const text = `Well.\n<tool_call>${call(
    parameter("path", 'a "b" </tool_call>\n<c>'),
    parameter("lines", "[1, 2]"),
    parameter("force", "True"),
    parameter("note", "7"),
    parameter("other", '{"a": 1}'),
  )}\n<tool_call>${call(parameter("note", "null"), parameter("lines", "none"))}\n`;
  const parser = new MessageParser({ format, tools });
  const pieces = Array.from({ length: Math.ceil(text.length / length) }, (_, at) =>
    parser.push(text.slice(at * length, (at + 1) * length)),
  );
  const parts = [...pieces, parser.end()];
  expect(parts.map(({ content }) => content).join("")).toBe("Well.");
  const given = parts.flatMap(({ calls }) => calls.map(({ name, arguments: all }) => [name, JSON.parse(all)]));
  expect(given).toEqual([
    ["edit", { path: 'a "b" </tool_call>\n<c>', lines: [1, 2], force: true, note: "7", other: { a: 1 } }],
    ["edit", { note: null, lines: "none" }],
  ]);
});

test("what is no call stays text", () => {
  for (const said of ["<function=f", "<function=f></function", "<function=f>\n<parameter=a>1</function>", "{}"]) {
    const text = `<tool_call>${said}</tool_call>`;
    const parser = new MessageParser({ format, tools });
    expect([parser.push(text), parser.end()].map(({ content }) => content).join("")).toBe(text);
  }
});

test("calls that must come follow their schemas", () => {
  if (format === undefined) throw new Error("no format");
  const grammar = callGrammar(tools, format, false);
  const [path, lines] = [parameter("path", "any <b>\n"), parameter("lines", "[1]")];
  const answers = [
    call(path, lines),
    call(path, lines, parameter("mode", "read"), parameter("note", "x")),
    call(path),
    call(path, parameter("lines", "[a]")),
    call(path, lines, parameter("mode", "delete")),
    call(path, lines, parameter("other", "1")),
    '\n{"name": "edit", "arguments": {}}\n</tool_call>',
  ];
  expect(answers.map((text) => follows(grammar, text))).toEqual([true, true, false, false, false, false, false]);
  const any = callGrammar([{ name: "edit", parameters: undefined, strict: false }], format, false);
  expect([call(), call(path, parameter("other", "1"))].map((text) => follows(any, text))).toEqual([true, true]);
  const held = { type: "object", properties: { a: { type: "string", pattern: "^a$" } } };
  expect(() => callGrammar([{ name: "f", parameters: held, strict: true }], format, false)).toThrow(
    "the parameters of f: a: pattern is not supported",
  );
});
