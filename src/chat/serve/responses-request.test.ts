import { expect, test } from "bun:test";
import { readResponseRequest } from "./responses-request.ts";
import { DEFAULTS, refusal } from "./testing/refusals.ts";

const MESSAGES = [{ role: "user", content: "Hi" }];
const respond = (extra: object) => readResponseRequest({ input: "Hi", ...extra }, DEFAULTS);
const item = { type: "message", id: "msg_1", status: "completed", role: "assistant" };
const part = { type: "output_text", text: "a", annotations: [], logprobs: [] };

test("what OpenAI's client sends back, and what asks for nothing, is let be", () => {
  const call = { type: "function_call", id: "fc_1", call_id: "a", name: "f", arguments: "{}", status: "completed" };
  const output = { type: "function_call_output", call_id: "a", output: "b" };
  const input = [{ ...item, content: [part] }, { type: "reasoning", summary: [] }, call, output, ...MESSAGES];
  const idle = { reasoning: { effort: null }, include: [], stream_options: { include_obfuscation: true } };
  expect(refusal(() => respond({ input, text: { verbosity: "medium" }, ...idle }))).toBe("taken");
  const empty = { type: "reasoning", summary: [], content: [] };
  expect(respond({ input: [empty, { role: "assistant", content: "a" }] }).messages).toEqual([
    { role: "assistant", content: "a" },
  ]);
});

test("reasoning between calls belongs to those behind it, and results stand behind their calls", () => {
  const call = (id: string) => ({ type: "function_call", call_id: id, name: "f", arguments: "{}" });
  const output = (id: string) => ({
    type: "function_call_output",
    call_id: id,
    output: [{ type: "input_text", text: id }],
  });
  const thought = (text: string) => ({ type: "reasoning", summary: [], content: [{ type: "reasoning_text", text }] });
  const input = [
    thought("0"),
    thought("1"),
    thought(""),
    call("a"),
    call("b"),
    thought("2"),
    call("c"),
    output("a"),
    output("c"),
    output("b"),
    output("d"),
  ];
  const called = (id: string) => expect.objectContaining({ id });
  const result = (id: string) => ({ role: "tool", tool_call_id: id, content: id });
  expect(respond({ input }).messages).toEqual([
    { role: "assistant", content: "", reasoning_content: "0\n\n1", tool_calls: [called("a"), called("b")] },
    result("a"),
    result("b"),
    { role: "assistant", content: "", reasoning_content: "2", tool_calls: [called("c")] },
    result("c"),
    result("d"),
  ]);
});

test.each<[object, string]>([
  [{ input: 5 }, "input"],
  [{ input: [{ ...item, content: "a", phase: "x" }] }, "input.0.phase"],
  [{ input: [{ ...item, content: [{ ...part, lang: "en" }] }] }, "input.0.content.0.lang"],
  [{ input: [{ type: "item_reference", id: "a" }] }, "input.0.type"],
  [{ text: { verbosity: "low" } }, "text.verbosity"],
  [{ text: { style: "x" } }, "text.style"],
  [{ text: { format: { type: "json_schema", schema: {}, mode: 1 } } }, "text.format.mode"],
  [{ reasoning: { effort: "minimal" } }, "reasoning.effort"],
  [{ max_output_tokens: 0 }, "max_output_tokens"],
  // A chat's fields, which this API calls otherwise.
  [{ max_tokens: 5 }, "max_tokens"],
  [{ response_format: { type: "json_object" } }, "response_format"],
  [{ messages: MESSAGES }, "messages"],
  [{ instructions: "a", input: [{ role: "user", content: [{ type: "input_image" }] }] }, "input.0.content.0"],
  [{ input: [{ role: "critic", content: "a" }] }, "input.0.role"],
  [{ input: [] }, "input"],
  [{ reasoning: { summary: "detailed" } }, "reasoning.summary"],
  [{ input: [{ type: "reasoning", content: [{ type: "reasoning_text", text: {} }] }] }, "input.0.content.0"],
  [{ tools: [{ type: "function", name: "f", schema: {} }] }, "tools.0.schema"],
  [{ tool_choice: { type: "function", name: "f", mode: 1 } }, "tool_choice.mode"],
  [{ previous_response_id: "resp_1" }, "previous_response_id"],
])("%j is refused", (extra, param) => {
  expect(refusal(() => respond(extra))).toEqual([400, param]);
});
