import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { TEST_DEVICE } from "../../compute/device/testing/open.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { LanguageModel } from "../language-model.ts";
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

const Listed = v.object({ models: v.array(v.object({ size: v.number() })) });
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

async function send(path: string, body?: object): Promise<string> {
  const method = body === undefined ? "GET" : "POST";
  const response = await fetch(`${serving.address}${path}`, { method, body: body && JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text;
}

/** An answer that is one value. */
const say = async (path: string, body?: object): Promise<unknown> => JSON.parse(await send(path, body));

/** The lines of an answer. */
async function ask(path: string, body: object): Promise<v.InferOutput<typeof Line>[]> {
  return (await send(path, body))
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

  test("names the models, with the bytes of their files, and a version", async () => {
    const weights = join(STORIES, "model.safetensors");
    const entry = {
      name: "storyteller",
      size: (await stat(weights)).size,
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
      details: {
        parent_model: "",
        format: "safetensors",
        family: "llama",
        parameter_size: "0.26M",
        quantization_level: "F32",
      },
    };
    expect(await say("/api/tags")).toMatchObject({ models: [entry] });
    expect(await say("/api/ps")).toMatchObject({ models: [{ ...entry, context_length: 1500 }] });
    const shown = await say("/api/show", { model: "any:latest", verbose: false });
    expect(shown).toMatchObject({
      template: loaded.template?.source,
      parameters: expect.stringMatching(/^num_ctx +1500\ntemperature +0\n/),
      capabilities: ["completion", "tools"],
      model_info: { "general.architecture": "llama", "general.parameter_count": 260_032, "llama.context_length": 1500 },
    });
    expect(await failure(say("/api/show", { model: "x".repeat(20_000) }))).toMatchObject({
      message: expect.stringContaining("longer than"),
    });
    expect(await say("/api/version")).toEqual({ version: expect.stringMatching(/^\d/) });
  });

  test("embeds what OpenAI's endpoint does, and cuts what is too long unless it is told not to", async () => {
    const input = ["Once upon a time", "Once ".repeat(2000)];
    const { data } = await serving.client.embeddings.create({ model: "any", input: input.slice(0, 1) });
    const embedded = await say("/api/embed", { model: "any", input, options: { num_ctx: 5 }, keep_alive: -1 });
    expect(embedded).toMatchObject({ model: "storyteller", embeddings: [data[0]?.embedding, { length: 64 }] });
    // All that a prompt may have.
    const first = loaded.tokenizer.encode(input[0] ?? "").length;
    expect(embedded).toMatchObject({ prompt_eval_count: first + 1499 });
    const one = await say("/api/embed", { input: input[0] });
    expect(one).toMatchObject({ embeddings: [data[0]?.embedding] });
    const older = await say("/api/embeddings", { model: "any:latest", prompt: input[0], options: {} });
    expect(older).toEqual({ embedding: data[0]?.embedding });
    expect(await failure(say("/api/embeddings", { prompt: "" }))).toMatchObject({
      message: expect.stringContaining("prompt: has an empty text"),
    });
    for (const [body, words] of [
      [{ input, truncate: false }, "the context of this model ends at"],
      [{ input, options: { mirostat: 1 } }, "options.mirostat"],
      [{ input: [[1]] }, "input"],
    ] as const)
      expect(await failure(say("/api/embed", body))).toMatchObject({ message: expect.stringContaining(words) });
  });
});

test("says what it serves when the files of its weights are gone", async () => {
  await using folder = await TemporaryFolder.create();
  const weights = folder.at("model.safetensors");
  await copyFile(join(STORIES, "model.safetensors"), weights);
  await using model = await LanguageModel.load({ location: { folder: STORIES, weights }, device: TEST_DEVICE });
  await using server = serveStories(model);
  await server.client.completions.create({ model: "any", prompt: "Once", max_tokens: 1 });
  await rm(weights);
  for (const path of ["/api/tags", "/api/ps"]) {
    const { models } = v.parse(Listed, await (await fetch(server.address + path)).json());
    expect(models).toEqual([{ size: (await stat(join(STORIES, "model.safetensors"))).size }]);
  }
  const shown = await fetch(`${server.address}/api/show`, { method: "POST", body: "{}" });
  expect(shown.status).toBe(200);
});

describe("llama.cpp's API", () => {
  test("text to tokens and back, with pieces that add up, halves of characters as bytes", async () => {
    const content = "Once upon a 🦊";
    const { tokenizer } = loaded;
    const ids = tokenizer.encode(content, { special: false });
    expect(await say("/tokenize", { content })).toEqual({ tokens: ids });
    expect(await say("/v1/tokenize", { content, add_special: true })).toEqual({ tokens: tokenizer.encode(content) });
    expect(await say("/detokenize", { tokens: ids })).toEqual({ content: tokenizer.decode(ids) });
    const Pieces = v.object({
      tokens: v.array(v.object({ id: v.number(), piece: v.union([v.string(), v.array(v.number())]) })),
    });
    const pieces = v.parse(Pieces, await say("/tokenize", { content, with_pieces: true })).tokens;
    expect(pieces.map(({ id }) => id)).toEqual(ids);
    const bytes = pieces.map(({ piece }) => Buffer.from(typeof piece === "string" ? piece : Uint8Array.from(piece)));
    expect(Buffer.concat(bytes).toString().trimStart()).toBe(content);
    expect(pieces.some(({ piece }) => typeof piece !== "string")).toBe(true);
    // Control tokens as text.
    const control = tokenizer.encode("</s>", { special: false });
    expect(await say("/tokenize", { content: "</s>" })).toEqual({ tokens: control });
    expect(await say("/tokenize", { content: "</s>", parse_special: false })).not.toEqual({ tokens: control });
  });

  test("shows a chat as the model sees it, whatever its length", async () => {
    const system = { role: "system", content: "Be kind. ".repeat(1000) };
    const all = [system, ...messages];
    const { text = "" } = loaded.template?.render({ messages: all, addGenerationPrompt: true }) ?? {};
    expect(text).toContain(system.content);
    expect(await say("/apply-template", { messages: all })).toEqual({ prompt: text });
    const whole = await serving.client.completions.create({
      model: "storyteller",
      prompt: v.parse(v.object({ prompt: v.string() }), await say("/apply-template", { messages })).prompt,
      max_tokens: 12,
      temperature: 0,
    });
    expect(whole.choices[0]?.text).toBe(await wanted({}));
  });

  test("what cannot be done is refused by name", async () => {
    for (const [path, body, words] of [
      ["/apply-template", { messages: [] }, "messages: there is none"],
      ["/apply-template", { messages, tool: 1 }, "tool: not supported"],
      ["/tokenize", {}, "content: is missing"],
      ["/tokenize", { content: "a", addspecial: true }, "addspecial: not supported"],
      ["/tokenize", { content: "a b ".repeat(2 ** 18) }, "content: has more than 262144 tokens"],
      ["/detokenize", { tokens: [1, 1e6] }, "token 1000000 is beyond the model's vocabulary"],
      ["/detokenize", { tokens: ["a"] }, "tokens.0: must be"],
      ["/detokenize", { tokens: Array.from({ length: 2 ** 18 + 1 }, () => 1) }, "262144 are allowed"],
    ] as const)
      expect(await failure(say(path, body))).toMatchObject({ message: expect.stringContaining(words) });
  });

  test("says what it serves, and nothing of where that lies", async () => {
    const props = await say("/props");
    expect(props).toMatchObject({
      default_generation_settings: { n_ctx: 1500, params: { temperature: 0, top_k: 0, n_predict: -1 } },
      total_slots: 4,
      model_path: "storyteller",
      modalities: { vision: false, audio: false },
      chat_template: loaded.template?.source,
      build_info: expect.stringMatching(/^randlora \d/),
    });
    const all = [props, await say("/api/tags"), await say("/api/ps"), await say("/api/show", {})];
    expect(JSON.stringify(all)).not.toContain(STORIES);
  });
});
