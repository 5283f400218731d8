import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as v from "valibot";
import type { LanguageModel } from "../language-model.ts";
import { failure, loadToolsModel, serveStories, type TestServer } from "./testing/server.ts";

let loaded: LanguageModel;
let serving: TestServer;
beforeAll(async () => {
  loaded = await loadToolsModel();
  const prompts = { system: undefined, templateVariables: {}, context: 1500 };
  serving = serveStories(loaded, { prompts });
});
afterAll(async () => {
  await serving[Symbol.asyncDispose]();
  await loaded[Symbol.asyncDispose]();
});

const messages = [{ role: "user" as const, content: "Tell me a story." }];
const parameters = {
  type: "object",
  properties: { a: { enum: [1, 2] } },
  required: ["a"],
  additionalProperties: false,
};

/** What the chat endpoint says to the same. */
async function wanted(extra: object): Promise<string> {
  const body = { model: "storyteller", messages, max_tokens: 12, temperature: 0, ...extra };
  return (await serving.client.chat.completions.create(body)).choices[0]?.message.content ?? "";
}

describe("/v1/responses", () => {
  test("says what a chat says, whole and as OpenAI's events", async () => {
    const body = { model: "any name", input: messages[0]?.content ?? "", max_output_tokens: 12, temperature: 0 };
    const whole = await serving.client.responses.create(body);
    const text = await wanted({});
    expect([whole.status, whole.output_text]).toEqual(["incomplete", text]);
    expect(whole.usage).toMatchObject({ output_tokens: 12 });
    // The item that was cut off says so, too, and a response repeats what was asked for.
    expect(whole.output.at(-1)).toMatchObject({ status: "incomplete" });
    expect(whole).toMatchObject({ tools: [], tool_choice: "auto", parallel_tool_calls: true, max_output_tokens: 12 });
    const stream = serving.client.responses.stream({ ...body, instructions: "Be kind." });
    let written = "";
    const types: string[] = [];
    for await (const event of stream) {
      types.push(event.type);
      if (event.type === "response.output_text.delta") written += event.delta;
    }
    const final = await stream.finalResponse();
    expect(final.output_text).toBe(written);
    expect(written).toBe(await wanted({ messages: [{ role: "system", content: "Be kind." }, ...messages] }));
    expect(types.slice(0, 4)).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
    ]);
    expect(types.slice(-4)).toEqual([
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.incomplete",
    ]);
  });

  test("calls functions, takes their results, and answers by a schema", async () => {
    const tools = [{ type: "function" as const, name: "f", parameters, strict: true }];
    const first = await serving.client.responses.create({
      model: "storyteller",
      input: "Go",
      tools,
      tool_choice: { type: "function", name: "f" },
      max_output_tokens: 80,
    });
    expect(first).toMatchObject({ tools, tool_choice: { type: "function", name: "f" } });
    const [call] = first.output;
    if (call?.type !== "function_call") throw new Error("no call");
    expect([call.name, [1, 2].includes(JSON.parse(call.arguments).a)]).toEqual(["f", true]);
    const second = await serving.client.responses.create({
      model: "storyteller",
      input: [
        { role: "user", content: [{ type: "input_text", text: "Go" }] },
        call,
        { type: "function_call_output", call_id: call.call_id, output: "done" },
      ],
      text: { format: { type: "json_schema", name: "x", schema: { const: { ok: true } } } },
    });
    expect([second.status, JSON.parse(second.output_text)]).toEqual(["completed", { ok: true }]);
  });

  test("refuses by name what it does not do", async () => {
    const ask = async (extra: object): Promise<unknown> =>
      await failure(serving.client.responses.create({ model: "storyteller", input: "Hi", ...extra }));
    expect(await ask({ previous_response_id: "resp_1" })).toMatchObject({ status: 400, param: "previous_response_id" });
    expect(await ask({ tools: [{ type: "web_search" }] })).toMatchObject({ status: 400, param: "tools.0.type" });
    expect(await ask({ input: [{ type: "item_reference", id: "x" }] })).toMatchObject({ status: 400, param: "input" });
  });
});

const Line = v.object({
  model: v.string(),
  message: v.optional(v.looseObject({ content: v.string() })),
  response: v.optional(v.string()),
  done: v.boolean(),
  done_reason: v.optional(v.string()),
  eval_count: v.optional(v.number()),
});

/** The lines of an answer. */
async function ask(path: string, body: object): Promise<v.InferOutput<typeof Line>[]> {
  const response = await fetch(`${serving.address}${path}`, { method: "POST", body: JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text
    .trim()
    .split("\n")
    .map((line) => v.parse(Line, JSON.parse(line)));
}

describe("Ollama's API", () => {
  test("streams lines where nothing is said, and says what a chat says", async () => {
    const body = { model: "storyteller:latest", messages, options: { temperature: 0, num_predict: 12, num_ctx: 99 } };
    const lines = await ask("/api/chat", { ...body, keep_alive: "5m" });
    const text = await wanted({});
    expect(lines.map(({ message }) => message?.content ?? "").join("")).toBe(text);
    expect(lines.at(-1)).toMatchObject({ model: "storyteller", done: true, done_reason: "length", eval_count: 12 });
    const [whole, ...others] = await ask("/api/generate", {
      model: "storyteller",
      prompt: messages[0]?.content,
      options: body.options,
      stream: false,
    });
    expect([whole?.response, others]).toEqual([text, []]);
  });

  test("obeys a schema, calls tools with objects, and refuses options that it has not", async () => {
    const [json] = await ask("/api/chat", { messages, format: { const: [1] }, stream: false });
    expect(JSON.parse(json?.message?.content ?? "")).toEqual([1]);
    const history = [
      ...messages,
      { role: "assistant", content: "", tool_calls: [{ function: { name: "f", arguments: { a: 1 } } }] },
      { role: "tool", content: "done", tool_name: "f" },
    ];
    const tools = [{ type: "function", function: { name: "f", parameters } }];
    const [line] = await ask("/api/chat", { messages: history, tools, stream: false, options: { num_predict: 3 } });
    expect(line?.done_reason).toBe("length");
    expect(await failure(ask("/api/chat", { messages, options: { mirostat: 1 } }))).toMatchObject({
      message: expect.stringContaining("options.mirostat"),
    });
  });

  test("names the models and a version", async () => {
    const get = async (path: string): Promise<unknown> => await (await fetch(`${serving.address}${path}`)).json();
    expect(await get("/api/tags")).toMatchObject({ models: [{ name: "storyteller", model: "storyteller" }] });
    expect(await get("/api/version")).toEqual({ version: expect.stringMatching(/^\d/) });
  });
});
