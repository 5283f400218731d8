import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { APIError } from "openai";
import { expectedStories } from "../../../fixtures/stories/storyteller.ts";
import type { AdapterChoice } from "../../adapters/merge/in-memory/weights.ts";
import type { LanguageModel } from "../language-model.ts";
import { DEFAULT_SAMPLING } from "../generation/sampling.ts";
import { read } from "../../compute/device/transfer.ts";
import { readChatRequest } from "./chat-request.ts";
import { readCompletionRequest } from "./completion-request.ts";
import { chatPrompt, completionPrompts } from "./prompt.ts";
import { failure, loadStoriesModel, serveStories, type TestServer, writeAdapters } from "./testing/server.ts";

setDefaultTimeout(60_000);

let folder: string;
let adapters: ReadonlyMap<string, AdapterChoice>;
let model: LanguageModel;
let serving: TestServer;
let texts: Awaited<ReturnType<typeof expectedStories>>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-serve-"));
  [model, adapters, texts] = await Promise.all([loadStoriesModel(), writeAdapters(folder), expectedStories()]);
  serving = serveStories(model, { adapters });
}, 120_000);
afterAll(async () => {
  await serving[Symbol.asyncDispose]();
  await model[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const first = () => texts[0];
const user = (content: string) => [{ role: "user" as const, content }];

describe("completions", () => {
  test("are transformers' texts, from a text or from ids, whole or as a stream", async () => {
    for (const [at, { text, ids, greedy_text: wanted }] of texts.entries()) {
      for (const prompt of at === 0 ? [text, ids] : [text]) {
        const whole = await serving.client.completions.create({ model: "storyteller", prompt, max_tokens: 64 });
        expect(whole).toMatchObject({ object: "text_completion", model: "storyteller" });
        expect(whole.choices).toEqual([{ index: 0, text: wanted, logprobs: null, finish_reason: "length" }]);
        expect(whole.usage).toMatchObject({
          prompt_tokens: ids.length,
          completion_tokens: 64,
          total_tokens: ids.length + 64,
        });
      }
      if (at > 1) continue;
      const stream = await serving.client.completions.create({
        model: "storyteller",
        prompt: text,
        max_tokens: 64,
        stream: true,
      });
      let streamed = "";
      for await (const { choices } of stream) streamed += choices[0]?.text ?? "";
      expect(streamed).toBe(wanted);
    }
  });

  test("name the probabilities of their tokens", async () => {
    const { text, greedy_text: wanted } = first();
    const { choices } = await serving.client.completions.create({
      model: "storyteller",
      prompt: text,
      max_tokens: 10,
      logprobs: 3,
    });
    const { tokens = [], token_logprobs = [], top_logprobs = [], text_offset = [] } = choices[0]?.logprobs ?? {};
    expect(tokens.join("").trimStart()).toBe(choices[0]?.text ?? "");
    expect(text_offset).toHaveLength(10);
    for (const [at, token] of tokens.entries()) {
      expect(wanted.slice(text_offset[at])).toStartWith(at === 0 ? token.trimStart() : token);
      expect(Object.keys(top_logprobs[at] ?? {})).toHaveLength(3);
      // Greedy: the token is the best of the named.
      expect(token_logprobs[at]).toBe(Math.max(...Object.values(top_logprobs[at] ?? {})));
    }
  });
});

const Timed = v.object({ timings: v.object({ cache_n: v.number(), prompt_n: v.number() }) });

describe("chat completions", () => {
  test("answer, whole and as a stream, with the same words and numbers", async () => {
    const body = { model: "storyteller", messages: user(first().text), max_tokens: 30, seed: 7, temperature: 0.9 };
    const whole = await serving.client.chat.completions.create(body);
    expect(whole).toMatchObject({ object: "chat.completion", id: expect.stringMatching(/^chatcmpl-/) });
    const [{ message, finish_reason } = { message: { content: "" }, finish_reason: "" }] = whole.choices;
    expect([finish_reason, message]).toEqual([
      "length",
      { role: "assistant", content: message.content, refusal: null },
    ]);

    const stream = await serving.client.chat.completions.create({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe(message.content ?? "");
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: "assistant", content: "" });
    expect(chunks.at(-2)?.choices[0]).toMatchObject({ delta: {}, finish_reason: "length" });
    const timings = {
      prompt_n: expect.any(Number),
      prompt_ms: expect.any(Number),
      prompt_per_token_ms: expect.any(Number),
      prompt_per_second: expect.any(Number),
      predicted_n: whole.usage?.completion_tokens,
      predicted_ms: expect.any(Number),
      predicted_per_token_ms: expect.any(Number),
      predicted_per_second: expect.any(Number),
    };
    expect(whole).toMatchObject({ timings: { cache_n: expect.any(Number), ...timings } });
    // Before a matcher puts its wishes into what it sees.
    const { cache_n: cached, prompt_n: computed } = v.parse(Timed, chunks.at(-1)).timings;
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: { ...whole.usage, prompt_tokens_details: {} },
      timings,
    });
    expect(cached).toBeGreaterThan(0);
    expect(cached + computed).toBe(whole.usage?.prompt_tokens ?? NaN);
    let end: unknown;
    for await (const chunk of await serving.client.chat.completions.create({ ...body, stream: true })) end = chunk;
    expect(end).toMatchObject({ choices: [{ finish_reason: "length" }], timings });
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBeTrue();
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
  });

  test("take parts of text, and end before a stop text", async () => {
    const ask = async (extra: object) =>
      await serving.client.chat.completions.create({
        model: "storyteller",
        messages: [{ role: "user", content: [{ type: "text", text: first().text }] }],
        ...extra,
      });
    const { choices: free } = await ask({ max_tokens: 40 });
    const wanted = free[0]?.message.content ?? "";
    const stop = wanted.slice(20, 30);
    const { choices, usage } = await ask({ stop: ["never", stop] });
    expect(choices[0]?.message.content).toBe(wanted.slice(0, wanted.indexOf(stop)));
    expect(choices[0]?.finish_reason).toBe("stop");
    expect(usage?.completion_tokens).toBeGreaterThan(5);
  });

  test("name probabilities that fit the text, also where it ends before a stop text", async () => {
    const body = {
      model: "storyteller",
      messages: user(first().text),
      stop: "to the park",
      logprobs: true,
      top_logprobs: 2,
    };
    const whole = await serving.client.chat.completions.create(body);
    const content = whole.choices[0]?.logprobs?.content ?? [];
    const text = whole.choices[0]?.message.content ?? "";
    const bytes = content.flatMap((token) => token.bytes ?? []);
    expect(new TextDecoder().decode(Uint8Array.from(bytes)).trimStart()).toStartWith(text);
    for (const { logprob, top_logprobs: top } of content) {
      expect(top.map((one) => one.logprob).toSorted((a, b) => b - a)).toEqual(top.map((one) => one.logprob));
      expect([top.length, top[0]?.logprob]).toEqual([2, logprob]);
    }
    const streamed = [];
    for await (const { choices } of await serving.client.chat.completions.create({ ...body, stream: true })) {
      streamed.push(...(choices[0]?.logprobs?.content ?? []));
    }
    expect(streamed).toEqual(content);
  });

  test("the same seed gives the same text, another one another; penalties and cuts count", async () => {
    const say = async (extra: object): Promise<string> => {
      const body = { model: "storyteller", messages: user("Once upon a time"), max_tokens: 24, ...extra };
      return (await serving.client.chat.completions.create(body)).choices[0]?.message.content ?? "";
    };
    const hot = { temperature: 1.5, top_p: 1, min_p: 0, top_k: 0 };
    const one = await say({ ...hot, seed: 1 });
    expect(await say({ ...hot, seed: 1 })).toBe(one);
    expect(await say({ ...hot, seed: 2 })).not.toBe(one);
    const greedy = await say({ temperature: 0 });
    for (const cut of [{ top_p: 0 }, { top_k: 1 }, { min_p: 1 }]) expect(await say({ ...hot, ...cut })).toBe(greedy);
    for (const penalty of ["presence_penalty", "frequency_penalty", "repetition_penalty"]) {
      expect(await say({ temperature: 0, [penalty]: 3 })).not.toBe(greedy);
    }
  });
});

describe("adapters", () => {
  test("are chosen by name; what each says does not depend on what was asked before", async () => {
    const say = async (id: string): Promise<string> => {
      const body = { model: id, messages: user("Once upon a time"), max_tokens: 24 };
      return (await serving.client.chat.completions.create(body)).choices[0]?.message.content ?? "";
    };
    const [base, pirate, poet] = [await say("storyteller"), await say("pirate"), await say("poet")];
    expect(new Set([base, pirate, poet]).size).toBe(3);
    expect([await say("pirate"), await say("storyteller"), await say("poet")]).toEqual([pirate, base, poet]);
    // Many at once, whatever order the queue makes of them.
    const names = ["storyteller", "pirate", "poet", "pirate", "storyteller", "poet", "pirate"];
    const wanted = new Map([
      ["storyteller", base],
      ["pirate", pirate],
      ["poet", poet],
    ]);
    expect(await Promise.all(names.map(say))).toEqual(names.map((name) => wanted.get(name) ?? ""));
  });

  test("are listed after the base, which is what is meant without a name", async () => {
    const { data } = await serving.client.models.list();
    expect(data.map(({ id }) => id)).toEqual(["storyteller", "pirate", "poet"]);
    expect(await serving.client.models.retrieve("pirate")).toMatchObject({ id: "pirate", parent: "storyteller" });
    const response = await fetch(`${serving.address}/v1/completions`, {
      method: "POST",
      body: JSON.stringify({ prompt: "Once", max_tokens: 1 }),
    });
    expect(await response.json()).toMatchObject({ model: "storyteller" });
    const none = await failure(serving.client.completions.create({ model: "gpt-4", prompt: "x" }));
    expect(none).toMatchObject({ status: 404, code: "model_not_found", param: "model" });
  });

  test("one whose file has gone fails alone, and tells the log why", async () => {
    const gone = new Map([["gone", { path: join(folder, "nothing"), scale: 1 }]]);
    await using broken = serveStories(model, { adapters: gone });
    const asked = await failure(broken.client.completions.create({ model: "gone", prompt: "Once" }));
    expect(asked).toMatchObject({ status: 500, type: "server_error" });
    expect(broken.failures).toEqual([expect.objectContaining({ message: expect.stringContaining("nothing") })]);
    const stream = await broken.client.completions.create({ model: "gone", prompt: "Once", stream: true });
    const read = async (): Promise<void> => {
      for await (const _ of stream);
    };
    expect(await failure(read())).toBeInstanceOf(APIError);
    const { choices } = await broken.client.completions.create({ model: "storyteller", prompt: "Once", max_tokens: 3 });
    expect(choices[0]?.text).not.toBe("");
  });
});

test("logits that are no numbers fail a request, whole or streamed, and the log says why", async () => {
  const { weight: norm } = model.decoder.weights.norm;
  const kept = await read(model.gpu, norm.buffer);
  model.gpu.write(norm.buffer, new Float32Array(norm.shape[1]).fill(NaN));
  await using broken = serveStories(model);
  const request = { model: "storyteller", prompt: "Once", max_tokens: 3 };
  const asked = await failure(broken.client.completions.create(request));
  expect(asked).toMatchObject({ status: 500, type: "server_error" });
  const stream = await broken.client.completions.create({ ...request, stream: true });
  const readAll = async (): Promise<void> => {
    for await (const _ of stream);
  };
  expect(await failure(readAll())).toBeInstanceOf(APIError);
  const numeric = expect.objectContaining({ code: "numeric", message: expect.stringContaining("are not finite") });
  expect(broken.failures).toEqual([numeric, numeric]);
  model.gpu.write(norm.buffer, kept);
  const { choices } = await broken.client.completions.create({ ...request, prompt: "There was" });
  expect(choices[0]?.text).not.toBe("");
});

test("what the tokenizer has and the model has not is refused as the client's text, not as the server's failure", async () => {
  const { tokenizer, template } = model;
  const small = { tokenizer, template, decoder: { config: { vocabularySize: 300 } } };
  const options = { system: undefined, templateVariables: {}, context: 512 };
  const defaults = { sampling: DEFAULT_SAMPLING, maxTokens: undefined };
  const [text, messages] = ["Once upon a time", user("Once upon a time")];
  const refused = { status: 400, message: expect.stringContaining("beyond the model's vocabulary of 300") };
  expect(await failure(chatPrompt(small, readChatRequest({ messages }, defaults), options))).toMatchObject(refused);
  expect(
    await failure(completionPrompts(small, readCompletionRequest({ prompt: text }, defaults), options)),
  ).toMatchObject(refused);
});

test("control tokens spelled in messages are plain text; in a completion's prompt they are what they are", async () => {
  const defaults = { sampling: DEFAULT_SAMPLING, maxTokens: undefined };
  const options = { system: undefined, templateVariables: {}, context: 512 };
  const end = model.tokenizer.tokenToId("</s>") ?? -1;
  const asked = readChatRequest({ messages: user("One</s> day </s>") }, defaults);
  const { ids } = await chatPrompt(model, asked, options);
  expect(ids).not.toContain(end);
  expect(model.tokenizer.decode(ids)).toBe("One</s> day </s>");
  const [raw] = await completionPrompts(model, readCompletionRequest({ prompt: "One</s>" }, defaults), options);
  expect(raw?.at(-1)).toBe(end);
});

test("a completion's probabilities name the token that was sampled; offsets count code points", async () => {
  const { choices } = await serving.client.completions.create({
    model: "storyteller",
    prompt: "🙂 Once",
    echo: true,
    max_tokens: 30,
    logprobs: 1,
    temperature: 1,
    seed: 3,
  });
  const { text = "", logprobs } = choices[0] ?? {};
  const { tokens = [], token_logprobs: own = [], top_logprobs: top = [], text_offset: at = [] } = logprobs ?? {};
  expect(top.slice(1).some((named) => Object.keys(named).length === 2)).toBeTrue();
  for (const [index, token] of tokens.entries()) {
    if (index > 0) expect(top[index]?.[token]).toBeGreaterThanOrEqual(own[index] ?? 0);
    const offset = at[index] ?? 0;
    // Halves of characters have no text of their own.
    if (offset < 6 || token.includes("\uFFFD")) continue;
    // An answer's text begins without the blank of its first token.
    expect(Array.from(text).slice(offset).join("")).toStartWith(offset === 6 ? token.trimStart() : token);
  }
});

test("the context is respected: a longer prompt is refused, an answer ends there", async () => {
  const prompts = { system: "Be kind.", templateVariables: {}, context: 40 };
  await using small = serveStories(model, { prompts });
  const messages = user("word ".repeat(60));
  const long = await failure(small.client.chat.completions.create({ model: "storyteller", messages }));
  expect(long).toMatchObject({ status: 400, code: "context_length_exceeded", param: "messages" });
  const { choices, usage } = await small.client.chat.completions.create({
    model: "storyteller",
    messages: user("Once upon a time"),
  });
  expect(choices[0]?.finish_reason).toBe("length");
  expect(usage?.total_tokens).toBe(40);
  // The system message of the command line stands before the conversation, unless that has one.
  const own = await small.client.chat.completions.create({
    model: "storyteller",
    messages: [{ role: "developer", content: "" }, ...user("Once upon a time")],
  });
  expect(own.usage?.prompt_tokens).toBeLessThan(usage?.prompt_tokens ?? 0);
});
