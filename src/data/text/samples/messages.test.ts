import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { RandloraError } from "../../../files/errors.ts";
import { ChatTemplate } from "../chat-template.ts";
import { FIXTURES } from "../testing/families.ts";
import { AssistantTurns } from "./assistant-turns.ts";
import { recognize } from "./kinds.ts";
import { readShareGpt } from "./messages.ts";

const NOW = new Date(2026, 2, 7);
const PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content + '</s>' }}{% endfor %}";
const MARKED =
  "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}</s>" +
  "{% endgeneration %}{% else %}{{ m.content }}</s>{% endif %}{% endfor %}";

const user = (content: unknown) => ({ role: "user", content });
const assistant = (content: unknown, more: object = {}) => ({ role: "assistant", content, ...more });
const calling = (args: unknown) => ({
  tool_calls: [{ id: "call_1", type: "function", function: { name: "weather", arguments: args } }],
});

/** The conversation as the template writes it, what is trained on in ⟦ ⟧, turns of weight 0 in ⟪ ⟫. */
function mark(source: string, messages: readonly unknown[]): string {
  const sample = recognize("d.jsonl", { place: "line 1", line: 1, fields: { messages } });
  if (sample.kind !== "chat") throw new Error(sample.kind);
  const template = new ChatTemplate(source, "t.jinja", { eos_token: "</s>" });
  const { text, spans, unweighted } = new AssistantTurns(template, [], NOW).render({ messages: sample.messages });
  let marked = text;
  const all = [
    ...spans.map((span) => ({ ...span, open: "⟦", close: "⟧" })),
    ...unweighted.map((span) => ({ ...span, open: "⟪", close: "⟫" })),
  ].toSorted((a, b) => b.start - a.start);
  for (const { start, end, open, close } of all) {
    marked = `${marked.slice(0, start)}${open}${marked.slice(start, end)}${close}${marked.slice(end)}`;
  }
  return marked;
}

function failure(messages: readonly unknown[], source = PLAIN): string {
  try {
    mark(source, messages);
  } catch (error) {
    if (error instanceof RandloraError) return error.message;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("content in parts", () => {
  test("parts of text become one text, a line each", () => {
    const text = (one: string) => ({ type: "text", text: one, image_url: null });
    expect(mark(PLAIN, [user([text("a"), text("b")]), assistant([text("c")])])).toBe(
      "<user>a\nb</s><assistant>⟦c⟧</s>",
    );
    expect(mark(PLAIN, [user([]), assistant("c")])).toBe("<user></s><assistant>⟦c⟧</s>");
  });

  test.each([
    [{ type: "image_url", image_url: { url: "x" } }, "image_url: only text is supported"],
    [{ type: "refusal", refusal: "no" }, "refusal: only text is supported"],
    [{ type: "text" }, "a part of type text has a text"],
    [{ text: "a" }, "not an object with type and text"],
    ["a", "not an object with type and text"],
  ])("%j is refused", (part, problem) => {
    const messages = [user([{ type: "text", text: "a" }, part]), assistant("b")];
    expect(failure(messages)).toBe(`d.jsonl: line 1: message 1: part 2 of "content": ${problem}`);
  });
});

describe("OpenAI's weight", () => {
  const weighted = [user("a"), assistant("b", { weight: 0 }), user("c"), assistant("d", { weight: 1 }), assistant("e")];

  test("0 keeps a turn out of the loss, whoever finds the turns", () => {
    expect(mark(PLAIN, weighted)).toBe("<user>a</s><assistant>⟪b⟫</s><user>c</s><assistant>⟦d⟧</s><assistant>⟦e⟧</s>");
    expect(mark(MARKED, weighted)).toBe("<user>a</s><assistant>⟪b</s>⟫<user>c</s><assistant>⟦d</s>⟧<assistant>⟦e</s>⟧");
  });

  test("counts an assistant's turn that is empty", () => {
    const messages = [assistant(""), assistant("b", { weight: 0 }), assistant("c", { weight: null })];
    expect(mark(PLAIN, messages)).toBe("<assistant></s><assistant>⟪b⟫</s><assistant>⟦c⟧</s>");
  });

  test("is no part of what a template is given", () => {
    const source = "{% for m in messages %}{{ m.keys() | list | join(',') }}{{ m.content }}{% endfor %}";
    expect(mark(source, [{ name: "x", weight: 1, content: "b", role: "assistant" }])).toBe("name,content,role⟦b⟧");
  });

  test.each([
    [0.5, "0.5"],
    ["1", "a string"],
    [true, "a boolean"],
  ])("%j is refused", (weight, what) => {
    expect(failure([assistant("b", { weight })])).toBe(`d.jsonl: line 1: message 1: "weight" is ${what}, not 0 or 1`);
  });

  test("cannot be told where the template leaves turns out", () => {
    const last = "{% generation %}{{ messages[-1].content }}{% endgeneration %}";
    expect(failure([assistant("b", { weight: 0 }), assistant("c")], last)).toContain(
      "1 parts in {% generation %} of 2 assistant messages",
    );
    expect(mark(last, [assistant("b"), assistant("c")])).toBe("⟦c⟧");
  });
});

describe("tool calls", () => {
  const told = { role: "tool", tool_call_id: "call_1", content: "rain" };
  const template = () => Bun.file(join(FIXTURES, "chat", "chatml-tools.jinja")).text();

  test("as OpenAI writes them, without content and with arguments as JSON text, are those that objects are", async () => {
    const source = await template();
    const rest = [told, assistant("It rains.")];
    const openAi = [user("q"), assistant(null, calling('{"city": "Paris"}')), ...rest];
    const objects = [user("q"), assistant("", calling({ city: "Paris" })), ...rest];
    expect(mark(source, openAi)).toBe(mark(source, objects));
    expect(mark(source, openAi)).toContain('{"name": "weather", "arguments": {"city": "Paris"}}');
    expect(mark(source, [user("q"), { role: "assistant", ...calling("") }, ...rest])).toContain('"arguments": {}');
  });

  test.each([
    ["{", 'tool call 1: "arguments" is a text that is not a JSON object'],
    ["[1]", 'tool call 1: "arguments" is a text that is not a JSON object'],
  ])("arguments %p are refused", (args, problem) => {
    expect(failure([user("q"), assistant(null, calling(args))])).toBe(`d.jsonl: line 1: message 2: ${problem}`);
  });

  test("of OpenAI's older form are refused", () => {
    expect(failure([assistant(null, { function_call: { name: "a", arguments: "{}" } })])).toBe(
      'd.jsonl: line 1: message 1: "function_call" is not supported',
    );
  });

  test("that the template leaves out are no empty answer to train on", () => {
    const messages = [user("q"), assistant(null, calling("{}")), told, assistant("It rains.")];
    expect(failure(messages)).toBe("message 2 calls tools, and the model's chat template writes no tool calls");
  });
});

test("ShareGPT's other names: model, bot and calls of functions, as LLaMA-Factory writes them", () => {
  const call = { name: "f", arguments: { a: 1 } };
  const read = (conversations: readonly object[]) =>
    readShareGpt(conversations, undefined, (problem) => {
      throw new Error(problem);
    });
  const found = read([
    { from: "human", value: "a" },
    { from: "function_call", value: JSON.stringify(call) },
    { from: "observation", value: "2" },
    { from: "function_call", value: JSON.stringify([call, { name: "g", arguments: "{}" }]) },
    { from: "model", value: "b" },
    { from: "bot", value: "c" },
  ]);
  expect(found).toEqual([
    { role: "user", content: "a" },
    { role: "assistant", content: "", tool_calls: [{ type: "function", function: call }] },
    { role: "tool", content: "2" },
    {
      role: "assistant",
      content: "",
      tool_calls: [
        { type: "function", function: call },
        { type: "function", function: { name: "g", arguments: {} } },
      ],
    },
    { role: "assistant", content: "b" },
    { role: "assistant", content: "c" },
  ]);
  for (const value of ["f(1)", "[]", "3", '{"a": 1}', undefined]) {
    expect(() => read([{ from: "function_call", value }])).toThrow('message 1, a function_call: "value" is not JSON');
  }
});
