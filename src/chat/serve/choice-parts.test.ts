import * as v from "valibot";
import { expect, test } from "bun:test";
import { withMarks } from "../../data/text/harmony.ts";
import { CALL_FORMATS } from "../tools/formats.ts";
import { ChoiceParts } from "./answer-text.ts";
import { responseShape } from "./shapes/responses.ts";
import { reasonOf, usageOf } from "./shapes/shape.ts";

const ANSWER =
  "<|channel|>commentary<|message|>Look:<|end|><|start|>assistant<|channel|>analysis<|message|>so<|end|>" +
  "<|start|>assistant<|channel|>final<|message|>Yes.";

/** Items without their ids. */
const Response = v.object({
  output: v.array(v.object({ type: v.string(), content: v.unknown(), status: v.string() })),
});

test("a response has the items of its stream, in their order, where the model thinks behind something said", () => {
  const parser = { kind: "harmony", begun: "", readsCalls: true, single: false } as const;
  const parts = new ChoiceParts(parser, false);
  const pieces = Array.from(withMarks(ANSWER), (text) => parts.push({ text, tokens: undefined })).flat();
  pieces.push(...parts.end());
  const choice = parts.choice("stop");
  expect([choice.content, choice.reasoning, choice.calls]).toEqual(["Look:\nYes.", "so", []]);
  const usage = usageOf([], 1);
  const timings = { llama: undefined, prefillSeconds: 0, decodeSeconds: 0 };
  const whole = v.parse(Response, responseShape({ model: "m" }).whole([choice], usage, timings));
  const stream = responseShape({ model: "m" });
  for (const part of pieces) stream.piece(0, part, undefined);
  stream.end(0, choice, undefined);
  const [done] = stream.finish([choice], usage, timings);
  expect(whole.output.map(({ type }) => type)).toEqual(["message", "reasoning", "message"]);
  expect(whole).toEqual(v.parse(v.object({ response: Response }), done).response);
});

test("tokens of several thoughts are counted", () => {
  const text = withMarks(`${ANSWER}<|end|><|start|>assistant${ANSWER}`);
  const parts = new ChoiceParts({ kind: "harmony", begun: "", readsCalls: true, single: false }, false);
  parts.push({ text, tokens: undefined });
  expect(parts.reasoningTokens([...text].map((_, at) => at))).toBe("soso".length);
});

test("an answer that was cut says so, whether or not it has whole calls", () => {
  const parts = new ChoiceParts({ format: CALL_FORMATS[0] }, false);
  parts.push({ text: '<tool_call>{"name": "f", "arguments": {}}</tool_call>\n<tool_c', tokens: undefined });
  expect((["stop", "length"] as const).map((reason) => reasonOf(parts.choice(reason)))).toEqual([
    "tool_calls",
    "length",
  ]);
});
