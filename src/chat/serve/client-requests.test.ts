import { expect, test } from "bun:test";
import { readChatRequest } from "./chat-request.ts";
import { readCompletionRequest } from "./completion-request.ts";
import { readShown } from "./ollama-models.ts";
import { OLLAMA_SAMPLING, readOllamaChat, readOllamaEmbed, readOllamaGenerate } from "./ollama-request.ts";
import { readResponseRequest } from "./responses-request.ts";
import { DEFAULTS, refusal } from "./testing/refusals.ts";

const MESSAGES = [{ role: "user", content: "Hi" }];
const NOTHING = { sampling: {}, maxTokens: undefined };

/** Bodies of requests that ask for nothing out of the ordinary, field by field as clients send them. */
const BODIES: readonly (readonly [client: string, read: (body: object) => unknown, body: object])[] = [
  [
    "ollama run, which asks about a model first",
    (body) => readShown(new TextEncoder().encode(JSON.stringify(body))),
    { model: "m", system: "", template: "", verbose: false, options: null, name: "" },
  ],
  [
    "ollama run, which loads a model",
    (body) => readOllamaGenerate(body, DEFAULTS),
    { model: "m", prompt: "", suffix: "", system: "", template: "", format: "", options: null, keep_alive: "5m" },
  ],
  [
    "ollama run, which chats",
    (body) => readOllamaChat(body, DEFAULTS),
    { model: "m", messages: MESSAGES, format: "", options: {}, think: null },
  ],
  [
    "Ollama's JavaScript client",
    (body) => readOllamaGenerate(body, DEFAULTS),
    { model: "m", prompt: "Hi", stream: false, raw: false, images: [], context: [], truncate: true },
  ],
  [
    "Ollama's Python client",
    (body) => readOllamaEmbed(body),
    { model: "m", input: ["Hi"], truncate: null, options: null, keep_alive: null, dimensions: null },
  ],
  [
    "LangChain's ChatOllama",
    (body) => readOllamaChat(body, DEFAULTS),
    {
      model: "m",
      messages: MESSAGES,
      tools: [],
      stream: true,
      options: {
        mirostat: 0,
        mirostat_eta: 0.1,
        mirostat_tau: 5,
        num_ctx: 2048,
        num_gpu: 1,
        num_thread: 8,
        repeat_last_n: 64,
        seed: 2 ** 62,
        stop: [],
        temperature: 0.8,
        tfs_z: 1,
        top_k: 40,
        top_p: 0.9,
      },
    },
  ],
  [
    "Open WebUI",
    (body) => readChatRequest(body, DEFAULTS),
    { stream: true, model: "m", messages: MESSAGES, stream_options: { include_usage: true }, metadata: {} },
  ],
  [
    "llama.cpp's page",
    (body) => readChatRequest(body, DEFAULTS),
    {
      messages: MESSAGES,
      stream: true,
      cache_prompt: true,
      reasoning_format: "auto",
      samplers: "edkypmxt",
      temperature: 0.8,
      dynatemp_range: 0,
      dynatemp_exponent: 1,
      top_k: 40,
      top_p: 0.95,
      min_p: 0.05,
      typical_p: 1,
      xtc_probability: 0,
      xtc_threshold: 0.1,
      repeat_last_n: 64,
      repeat_penalty: 1,
      presence_penalty: 0,
      frequency_penalty: 0,
      dry_multiplier: 0,
      dry_base: 1.75,
      dry_allowed_length: 2,
      dry_penalty_last_n: -1,
      max_tokens: -1,
      timings_per_token: true,
    },
  ],
  [
    "llama.cpp's Python client",
    (body) => readCompletionRequest(body, DEFAULTS),
    { prompt: "Hi", n_probs: 0, min_keep: 0, id_slot: -1, mirostat: 0, n_keep: 0, lora: [], grammar: "" },
  ],
  [
    "vLLM's users",
    (body) => readChatRequest(body, DEFAULTS),
    {
      messages: MESSAGES,
      skip_special_tokens: true,
      min_tokens: 0,
      ignore_eos: false,
      logprobs: false,
      top_logprobs: 0,
    },
  ],
  [
    "Codex",
    (body) => readResponseRequest(body, DEFAULTS),
    {
      model: "m",
      instructions: "Be brief.",
      input: [{ type: "message", role: "user", content: [{ type: "input_text", text: "Hi" }] }],
      tools: [{ type: "function", name: "shell", description: "Runs", strict: false, parameters: { type: "object" } }],
      tool_choice: "auto",
      parallel_tool_calls: false,
      reasoning: { effort: "medium", summary: "auto" },
      store: false,
      stream: true,
      include: ["reasoning.encrypted_content"],
      prompt_cache_key: "1",
      truncation: "auto",
    },
  ],
  [
    "Vercel's AI SDK, with a schema of zod",
    (body) => readChatRequest(body, DEFAULTS),
    {
      model: "m",
      messages: MESSAGES,
      max_tokens: 9,
      response_format: {
        type: "json_schema",
        json_schema: {
          name: "response",
          strict: true,
          schema: {
            $schema: "http://json-schema.org/draft-07/schema#",
            type: "object",
            properties: { name: { type: "string" } },
            required: ["name"],
            additionalProperties: false,
          },
        },
      },
    },
  ],
];

test.each(BODIES)("%s is understood", (_, read, body) => {
  expect(refusal(() => read(body))).toBe("taken");
});

test("the same fields are refused where they ask for something", () => {
  const chat = (extra: object) => refusal(() => readChatRequest({ messages: MESSAGES, ...extra }, DEFAULTS));
  const ollama = (options: object) => refusal(() => readOllamaChat({ messages: MESSAGES, options }, DEFAULTS));
  expect(chat({ mirostat: 2 })).toEqual([400, "mirostat"]);
  expect(chat({ skip_special_tokens: false })).toEqual([400, "skip_special_tokens"]);
  expect(chat({ samplers: "tk" })).toEqual([400, "samplers"]);
  expect(chat({ temperature: 2.1 })).toEqual([400, "temperature"]);
  expect(ollama({ mirostat: 1 })).toEqual([400, "options.mirostat"]);
  expect(ollama({ temperature: 9 })).toEqual([400, "options.temperature"]);
  expect(refusal(() => readOllamaGenerate({ prompt: "Hi", raw: true }, DEFAULTS))).toEqual([400, "raw"]);
});

test("Ollama's requests are sampled as Ollama does, unless the server says otherwise", () => {
  const { seed: _, ...own } = readOllamaChat({ messages: MESSAGES }, NOTHING).sampling;
  const { seed: _seed, ...wanted } = OLLAMA_SAMPLING;
  expect(own).toEqual(wanted);
  expect(wanted).toMatchObject({
    temperature: 0.8,
    topK: 40,
    topP: 0.9,
    minP: 0,
    repeatPenalty: 1.1,
    penaltyWindow: 64,
  });
  const cool = { sampling: { temperature: 0.1 }, maxTokens: undefined };
  expect(readOllamaChat({ messages: MESSAGES, options: { top_k: 2 } }, cool).sampling).toMatchObject({
    temperature: 0.1,
    topK: 2,
    topP: 0.9,
  });
});
