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

test.each<[object, string]>([
  [{ input: 5 }, "input"],
  [{ input: [{ ...item, content: "a", phase: "x" }] }, "input.0.phase"],
  [{ input: [{ ...item, content: [{ ...part, lang: "en" }] }] }, "input.0.content.0.lang"],
  [{ input: [{ type: "item_reference", id: "a" }] }, "input.0.type"],
  [{ text: { verbosity: "low" } }, "text.verbosity"],
  [{ text: { style: "x" } }, "text.style"],
  [{ text: { format: { type: "json_schema", schema: {}, mode: 1 } } }, "response_format.json_schema.mode"],
  [{ reasoning: { effort: "minimal" } }, "reasoning_effort"],
  [{ reasoning: { summary: "auto" } }, "reasoning.summary"],
  [{ input: [{ type: "reasoning", content: [{ type: "reasoning_text", text: {} }] }] }, "input.0.content.0"],
  [{ tools: [{ type: "function", name: "f", schema: {} }] }, "tools.0.function.schema"],
  [{ tool_choice: { type: "function", name: "f", mode: 1 } }, "tool_choice.mode"],
  [{ previous_response_id: "resp_1" }, "previous_response_id"],
])("%j is refused", (extra, param) => {
  expect(refusal(() => respond(extra))).toEqual([400, param]);
});
