import * as v from "valibot";
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { readChatRequest } from "./chat-request.ts";
import { readCompletionRequest, readEmbeddingRequest } from "./completion-request.ts";
import type { GenerationRequest } from "./fields.ts";
import { readShown } from "./ollama-models.ts";
import {
  OLLAMA_SAMPLING,
  readOllamaChat,
  readOllamaEmbed,
  readOllamaEmbedding,
  readOllamaGenerate,
} from "./ollama-request.ts";
import { readResponseRequest } from "./responses-request.ts";
import { DEFAULTS, refusal } from "./testing/refusals.ts";

const MESSAGES = [{ role: "user", content: "Hi" }];
const NOTHING = { sampling: {}, maxTokens: undefined };

const Fixture = v.object({
  client: v.string(),
  path: v.string(),
  body: v.looseObject({}),
  /** What must be understood of it. */
  means: v.optional(v.looseObject({})),
});

const flat = ({ settings, ...request }: GenerationRequest): object => ({ ...settings, ...request });
const READERS = new Map<string, (body: object) => object>([
  ["/v1/chat/completions", (body) => flat(readChatRequest(body, DEFAULTS))],
  ["/v1/completions", (body) => flat(readCompletionRequest(body, DEFAULTS))],
  ["/v1/responses", (body) => flat(readResponseRequest(body, DEFAULTS))],
  ["/v1/embeddings", readEmbeddingRequest],
  ["/api/chat", (body) => flat(readOllamaChat(body, DEFAULTS))],
  ["/api/generate", (body) => flat(readOllamaGenerate(body, DEFAULTS))],
  ["/api/embed", readOllamaEmbed],
  ["/api/embeddings", readOllamaEmbedding],
  ["/api/show", (body) => ({ model: readShown(new TextEncoder().encode(JSON.stringify(body))) })],
]);

/** A line for each request: recorded where a client's package could be run, else put together by its sources. */
const FIXTURES = readFileSync(new URL("testing/client-requests.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => v.parse(Fixture, JSON.parse(line)));

test.each(FIXTURES)("$client is understood at $path", ({ path, body, means = {} }) => {
  expect(READERS.get(path)?.(body)).toMatchObject(means);
});

test("the same fields are refused where they ask for something", () => {
  const chat = (extra: object) => refusal(() => readChatRequest({ messages: MESSAGES, ...extra }, DEFAULTS));
  const ollama = (options: object) => refusal(() => readOllamaChat({ messages: MESSAGES, options }, DEFAULTS));
  expect(chat({ mirostat: 2 })).toEqual([400, "mirostat"]);
  expect(chat({ skip_special_tokens: false })).toEqual([400, "skip_special_tokens"]);
  expect(chat({ samplers: "tk" })).toEqual([400, "samplers"]);
  expect(chat({ samplers: { toString: 1 } })).toEqual([400, "samplers"]);
  expect(chat({ samplers: ["top_k", "top_p", "temperature"] })).toEqual([400, "samplers"]);
  expect(refusal(() => readOllamaChat({ messages: MESSAGES, tool_choice: "required" }, DEFAULTS))).toEqual([
    400,
    "tool_choice",
  ]);
  expect(chat({ temperature: 2.1 })).toEqual([400, "temperature"]);
  expect(ollama({ mirostat: 1 })).toEqual([400, "options.mirostat"]);
  expect(ollama({ temperature: 9 })).toEqual([400, "options.temperature"]);
  expect(refusal(() => readOllamaGenerate({ prompt: "Hi", raw: true }, DEFAULTS))).toEqual([400, "raw"]);
});

test("Ollama's requests are sampled as Ollama does, unless the server says otherwise", () => {
  const { seed: _, ...own } = readOllamaChat({ messages: MESSAGES }, NOTHING).settings.sampling;
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
  expect(readOllamaChat({ messages: MESSAGES, options: { top_k: 2 } }, cool).settings.sampling).toMatchObject({
    temperature: 0.1,
    topK: 2,
    topP: 0.9,
  });
});
