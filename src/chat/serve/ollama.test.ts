import { describe, expect, test } from "bun:test";
import { copyFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { TEST_DEVICE } from "../../compute/device/testing/open.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { LanguageModel } from "../language-model.ts";
import { failure, serveStories } from "./testing/server.ts";
import { chatAnswer, MESSAGES, PARAMETERS, serveTools } from "./testing/shapes.ts";

const served = serveTools();

const Listed = v.object({ models: v.array(v.object({ size: v.number() })) });
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
  return (await served.send(path, body))
    .trim()
    .split("\n")
    .map((line) => v.parse(Line, JSON.parse(line)));
}

describe("Ollama's API", () => {
  test("streams lines where nothing is said, and says what a chat says", async () => {
    const body = {
      model: "storyteller:latest",
      messages: MESSAGES,
      options: { temperature: 0, num_predict: 12, num_ctx: 99 },
    };
    const lines = await ask("/api/chat", { ...body, keep_alive: "5m" });
    const text = await chatAnswer(served);
    expect(lines.map(({ message }) => message?.content ?? "").join("")).toBe(text);
    expect(lines.at(-1)).toMatchObject({ model: "storyteller", done: true, done_reason: "length", eval_count: 12 });
    const [whole, ...others] = await ask("/api/generate", {
      model: "storyteller",
      prompt: MESSAGES[0]?.content,
      options: body.options,
      stream: false,
    });
    expect([whole?.response, others]).toEqual([text, []]);
  });

  test("obeys a schema, calls tools with objects, and refuses options that it has not", async () => {
    const [json] = await ask("/api/chat", { messages: MESSAGES, format: { const: [1] }, stream: false });
    expect(JSON.parse(json?.message?.content ?? "")).toEqual([1]);
    const history = [
      ...MESSAGES,
      { role: "assistant", content: "", tool_calls: [{ function: { name: "f", arguments: { a: 1 } } }] },
      { role: "tool", content: "done", tool_name: "f" },
    ];
    const tools = [{ type: "function", function: { name: "f", parameters: PARAMETERS } }];
    const [line] = await ask("/api/chat", { messages: history, tools, stream: false, options: { num_predict: 3 } });
    expect(line?.done_reason).toBe("length");
    expect(await failure(ask("/api/chat", { messages: MESSAGES, options: { mirostat: 1 } }))).toMatchObject({
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
    expect(await served.say("/api/tags")).toMatchObject({ models: [entry] });
    expect(await served.say("/api/ps")).toMatchObject({ models: [{ ...entry, context_length: 1500 }] });
    const shown = await served.say("/api/show", { model: "any:latest", verbose: false });
    expect(shown).toMatchObject({
      template: served.model.template?.source,
      parameters: expect.stringMatching(/^num_ctx +1500\ntemperature +0\n/),
      capabilities: ["completion", "tools"],
      model_info: { "general.architecture": "llama", "general.parameter_count": 260_032, "llama.context_length": 1500 },
    });
    expect(await failure(served.say("/api/show", { model: "x".repeat(20_000) }))).toMatchObject({
      message: expect.stringContaining("longer than"),
    });
    expect(await served.say("/api/version")).toEqual({ version: expect.stringMatching(/^\d/) });
  });

  test("embeds what OpenAI's endpoint does, and cuts what is too long unless it is told not to", async () => {
    const input = ["Once upon a time", "Once ".repeat(2000)];
    const { data } = await served.client.embeddings.create({ model: "any", input: input.slice(0, 1) });
    const embedded = await served.say("/api/embed", { model: "any", input, options: { num_ctx: 5 }, keep_alive: -1 });
    expect(embedded).toMatchObject({ model: "storyteller", embeddings: [data[0]?.embedding, { length: 64 }] });
    // All that a prompt may have.
    const first = served.model.tokenizer.encode(input[0] ?? "").length;
    expect(embedded).toMatchObject({ prompt_eval_count: first + 1499 });
    const one = await served.say("/api/embed", { input: input[0] });
    expect(one).toMatchObject({ embeddings: [data[0]?.embedding] });
    const older = await served.say("/api/embeddings", { model: "any:latest", prompt: input[0], options: {} });
    expect(older).toEqual({ embedding: data[0]?.embedding });
    for (const [body, words] of [
      [{ input: ["a", ""] }, "input: has an empty text"],
      [{ input, dimensions: 5 }, "dimensions: must be 64"],
      [{ input, truncate: false }, "the context of this model ends at"],
      [{ input, options: { mirostat: 1 } }, "options.mirostat"],
      [{ input: [[1]] }, "input"],
    ] as const)
      expect(await failure(served.say("/api/embed", body))).toMatchObject({ message: expect.stringContaining(words) });
  });

  test("an empty prompt only loads the model, which is there: nothing is written or embedded", async () => {
    const load = { model: "storyteller", done: true, done_reason: "load", eval_count: 0 };
    for (const stream of [true, false]) {
      expect(await ask("/api/chat", { messages: [], stream, keep_alive: 0 })).toMatchObject([load]);
      expect(await ask("/api/generate", { prompt: "", system: "Be kind.", stream })).toMatchObject([load]);
    }
    expect(await served.say("/api/embed", { input: "" })).toMatchObject({ embeddings: [], prompt_eval_count: 0 });
    expect(await served.say("/api/embeddings", { prompt: "" })).toEqual({ embedding: [] });
    expect(await failure(ask("/api/generate", { options: { mirostat: 1 } }))).toMatchObject({
      message: expect.stringContaining("options.mirostat"),
    });
  });

  test("thinking is refused where the chat template knows none, and a field by Ollama's name", async () => {
    for (const think of [true, "low"]) {
      expect(await failure(ask("/api/chat", { messages: MESSAGES, think }))).toMatchObject({
        message: expect.stringContaining("think: the model's chat template knows no thinking"),
      });
    }
    for (const [wrong, name] of [
      [{ options: { num_predict: "x" } }, '{"error":"options.num_predict: must be'],
      [{ max_tokens: 5 }, '{"error":"max_tokens: not supported'],
    ] as const) {
      expect(await failure(ask("/api/chat", { messages: MESSAGES, ...wrong }))).toMatchObject({
        message: expect.stringContaining(`${name}`),
      });
    }
    const [line] = await ask("/api/generate", {
      prompt: "Hi",
      think: false,
      stream: false,
      options: { num_predict: 2 },
    });
    expect(line?.eval_count).toBe(2);
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
