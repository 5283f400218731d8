import { describe, expect, setDefaultTimeout, test } from "bun:test";
import * as v from "valibot";
import { APIError } from "openai";
import { expectedStories } from "../../../fixtures/stories/storyteller.ts";
import { read } from "../../compute/device/transfer.ts";
import { failure, serveStories } from "./testing/server.ts";
import { ServedForTests } from "./testing/for-tests.ts";

setDefaultTimeout(60_000);

const served = new ServedForTests();
const texts = await expectedStories();

const first = () => texts[0];
const user = (content: string) => [{ role: "user" as const, content }];

const Timed = v.object({ timings: v.object({ cache_n: v.number(), prompt_n: v.number() }) });

describe("chat completions", () => {
  test("answer, whole and as a stream, with the same words and numbers", async () => {
    const body = { model: "storyteller", messages: user(first().text), max_tokens: 30, seed: 7, temperature: 0.9 };
    const whole = await served.client.chat.completions.create(body);
    expect(whole).toMatchObject({ object: "chat.completion", id: expect.stringMatching(/^chatcmpl-/) });
    const [{ message, finish_reason } = { message: { content: "" }, finish_reason: "" }] = whole.choices;
    expect([finish_reason, message]).toEqual([
      "length",
      { role: "assistant", content: message.content, refusal: null },
    ]);

    const stream = await served.client.chat.completions.create({
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
    for await (const chunk of await served.client.chat.completions.create({ ...body, stream: true })) end = chunk;
    expect(end).toMatchObject({ choices: [{ finish_reason: "length" }], timings });
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBeTrue();
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
  });

  test("take parts of text, and end before a stop text", async () => {
    const ask = async (extra: object) =>
      await served.client.chat.completions.create({
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
    const asked = { model: "storyteller", messages: user(first().text), max_tokens: 40 };
    const { choices: free } = await served.client.chat.completions.create(asked);
    const stop = free[0]?.message.content?.slice(20, 30) ?? "";
    const body = { ...asked, stop, logprobs: true, top_logprobs: 2 };
    const whole = await served.client.chat.completions.create(body);
    const content = whole.choices[0]?.logprobs?.content ?? [];
    expect(whole.choices[0]?.finish_reason).toBe("stop");
    const text = whole.choices[0]?.message.content ?? "";
    const bytes = content.flatMap((token) => token.bytes ?? []);
    expect(new TextDecoder().decode(Uint8Array.from(bytes)).trimStart()).toStartWith(text);
    for (const { logprob, top_logprobs: top } of content) {
      expect(top.map((one) => one.logprob).toSorted((a, b) => b - a)).toEqual(top.map((one) => one.logprob));
      expect([top.length, top[0]?.logprob]).toEqual([2, logprob]);
    }
    const streamed = [];
    for await (const { choices } of await served.client.chat.completions.create({ ...body, stream: true })) {
      streamed.push(...(choices[0]?.logprobs?.content ?? []));
    }
    expect(streamed).toEqual(content);
  });

  test("the same seed gives the same text, another one another; penalties and cuts count", async () => {
    const say = async (extra: object): Promise<string> => {
      const body = { model: "storyteller", messages: user("Once upon a time"), max_tokens: 24, ...extra };
      return (await served.client.chat.completions.create(body)).choices[0]?.message.content ?? "";
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

test("logits that are no numbers fail a request, whole or streamed, and the log says why", async () => {
  const { weight: norm } = served.model.decoder.weights.norm;
  const kept = await read(served.model.gpu, norm.buffer);
  served.model.gpu.write(norm.buffer, new Float32Array(norm.shape[1]).fill(NaN));
  await using broken = serveStories(served.model);
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
  served.model.gpu.write(norm.buffer, kept);
  const { choices } = await broken.client.completions.create({ ...request, prompt: "There was" });
  expect(choices[0]?.text).not.toBe("");
});
