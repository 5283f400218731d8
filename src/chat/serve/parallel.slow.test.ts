import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import { TEST_DEVICE } from "../../compute/device/testing/open.ts";
import { LanguageModel } from "../language-model.ts";
import { AdaptersForTests } from "./testing/adapters.ts";
import { serveStories, type TestServer, until } from "./testing/server.ts";

setDefaultTimeout(120_000);

const made = new AdaptersForTests();
const texts = await expectedStories();

interface Asked {
  readonly prompt: string;
  readonly model?: string;
  readonly [name: string]: unknown;
}

async function ask(serving: TestServer, { prompt, model: id = "storyteller", ...extra }: Asked): Promise<string> {
  const { choices } = await serving.client.completions.create({ model: id, prompt, ...extra });
  return choices[0]?.text ?? "";
}

/** Prompts, lengths, samplings and models of eight clients. */
function clients(): Asked[] {
  const story = (at: number) => texts[at % texts.length]?.text ?? "";
  const hot = { temperature: 1.3, top_p: 1, min_p: 0 };
  return [
    { prompt: story(0), max_tokens: 40 },
    { prompt: story(1), max_tokens: 12 },
    { prompt: story(2), max_tokens: 60 },
    { prompt: "x", max_tokens: 30 },
    { prompt: `${story(0)} ${story(1)} ${story(2)}`, max_tokens: 25, presence_penalty: 0.5 },
    { prompt: story(0), max_tokens: 33, seed: 4, ...hot },
    { prompt: story(1), max_tokens: 50, stop: "the" },
    { prompt: story(2), max_tokens: 21, seed: 5, top_k: 0, ...hot },
  ];
}

describe("eight clients, four at a time", () => {
  test("get the texts that each would get alone", async () => {
    await using serving = serveStories(made.model);
    const alone: string[] = [];
    for (const one of clients()) alone.push(await ask(serving, one));
    expect(new Set(alone).size).toBeGreaterThan(6);
    await using other = serveStories(made.model, { parallel: 4 });
    for (const step of [1, 5]) {
      const order = clients().map((one, at) => ({ one, at, turn: (at * step) % 8 }));
      const asked = order.toSorted((left, right) => left.turn - right.turn);
      await Promise.all(asked.map(async ({ one, at }) => expect(await ask(other, one)).toBe(alone[at] ?? "")));
    }
  });

  test("who leaves disturbs nobody, wherever he is", async () => {
    await using serving = serveStories(made.model);
    const alone: string[] = [];
    for (const one of clients()) alone.push(await ask(serving, one));
    const leave = async (at: number): Promise<void> => {
      const stream = await serving.client.completions.create({
        model: "storyteller",
        prompt: "There was a duck".repeat(at),
        max_tokens: 300,
        stream: true,
      });
      let pieces = 0;
      for await (const { choices } of stream) if (choices[0]?.text !== "" && ++pieces > 2 * at) break;
    };
    const leaving = [1, 2, 3, 4].map(leave);
    expect(await Promise.all(clients().map((one) => ask(serving, one)))).toEqual(alone);
    await Promise.all(leaving);
    await until(() => serving.engine.load === 0);
    expect(serving.failures).toEqual([]);
  });

  test("are written side by side", async () => {
    await using serving = serveStories(made.model);
    const pieces: number[] = [];
    const read = async (at: number): Promise<void> => {
      const body = { model: "storyteller", prompt: `Once ${at}`, max_tokens: 60, stream: true as const };
      for await (const { choices } of await serving.client.completions.create(body)) {
        if (choices[0]?.text !== "") pieces.push(at);
      }
    };
    await Promise.all([0, 1, 2, 3].map(read));
    // Everybody has had something before anybody has had all.
    const firsts = [0, 1, 2, 3].map((at) => pieces.indexOf(at));
    const lasts = [0, 1, 2, 3].map((at) => pieces.lastIndexOf(at));
    expect(Math.max(...firsts)).toBeLessThan(Math.min(...lasts));
  });
});

test("a prompt that begins as others did is not computed again, and changes nothing", async () => {
  await using serving = serveStories(made.model);
  const create = async (prompt: string) => {
    const made = await serving.client.completions.create({ model: "storyteller", prompt, max_tokens: 30, logprobs: 1 });
    return { choices: made.choices, cached: made.usage?.prompt_tokens_details?.cached_tokens ?? NaN };
  };
  const { text } = texts[0];
  const first = await create(text);
  const again = await create(text);
  expect([first.cached, again.cached]).toEqual([0, texts[0].ids.length - 1]);
  expect(again.choices).toEqual(first.choices);
  const longer = `${text} ${first.choices[0]?.text}`;
  await using fresh = serveStories(made.model);
  const { choices } = await fresh.client.completions.create({
    model: "storyteller",
    prompt: longer,
    max_tokens: 30,
    logprobs: 1,
  });
  const continued = await create(longer);
  expect(continued.cached).toBeGreaterThan(10);
  expect(continued.choices).toEqual(choices);
});

describe("several texts of one request", () => {
  test("have seeds one after another, whole and as a stream", async () => {
    await using serving = serveStories(made.model);
    const body = { model: "storyteller", prompt: "Once upon a time", max_tokens: 20, temperature: 1.2, seed: 7 };
    const single: string[] = [];
    for (const seed of [7, 8, 9]) single.push(await ask(serving, { ...body, seed }));
    expect(new Set(single).size).toBe(3);
    const last = await serving.client.completions.create({ ...body, seed: Number.MAX_SAFE_INTEGER, n: 2 });
    expect(last.choices[1]?.text).toBe(await ask(serving, { ...body, seed: 0 }));
    const whole = await serving.client.completions.create({ ...body, n: 3 });
    expect(whole.choices.map(({ index, text }) => [index, text])).toEqual(single.map((text, index) => [index, text]));
    expect(whole.usage).toMatchObject({ prompt_tokens: 6, completion_tokens: 60, total_tokens: 66 });
    const streamed = ["", "", ""];
    const ended: number[] = [];
    for await (const { choices } of await serving.client.completions.create({ ...body, n: 3, stream: true })) {
      const { index, text, finish_reason: reason } = choices[0] ?? { index: 0, text: "", finish_reason: null };
      streamed[index] += text;
      if (reason !== null) ended.push(index);
    }
    expect(streamed).toEqual(single);
    expect(ended.toSorted()).toEqual([0, 1, 2]);
    const chat = await serving.client.chat.completions.create({
      model: "storyteller",
      messages: [{ role: "user", content: "Once" }],
      n: 2,
      max_tokens: 10,
      temperature: 1.5,
    });
    expect(chat.choices.map(({ index }) => index)).toEqual([0, 1]);
  });

  test("may be those of several prompts, as texts or as ids", async () => {
    await using serving = serveStories(made.model);
    const asked = { model: "storyteller", max_tokens: 64 };
    for (const prompt of [texts.map(({ text }) => text), texts.map(({ ids }) => ids)]) {
      const { choices, usage } = await serving.client.completions.create({ ...asked, prompt });
      expect(choices.map(({ index, text }) => [index, text])).toEqual(texts.map((one, at) => [at, one.greedy_text]));
      expect(usage?.prompt_tokens).toBe(texts.reduce((sum, { ids }) => sum + ids.length, 0));
    }
  });
});

describe("echo", () => {
  /** What `nll` gives for the same tokens, by a pass of another kind. */
  async function likelihoods(ids: readonly number[]): Promise<number[]> {
    using cache = made.model.decoder.createCache();
    return Array.from(await made.model.decoder.nll(cache, ids), (value) => -value);
  }

  test("gives the prompt with its probabilities, and nothing more where nothing more is asked for", async () => {
    await using serving = serveStories(made.model);
    const { text, ids } = texts[1] ?? texts[0];
    for (const prompt of [text, [...ids]]) {
      const { choices, usage } = await serving.client.completions.create({
        model: "storyteller",
        prompt,
        echo: true,
        logprobs: 2,
        max_tokens: 0,
      });
      const [choice] = choices;
      expect([choice?.text, choice?.finish_reason, usage?.completion_tokens]).toEqual([text, "length", 0]);
      const {
        tokens = [],
        token_logprobs: own = [],
        top_logprobs: top = [],
        text_offset: at = [],
      } = choice?.logprobs ?? {};
      expect([tokens.length, own.length, top.length, at.length]).toEqual(Array(4).fill(ids.length));
      expect(own[0] as unknown).toBeNull();
      expect(top[0] as unknown).toBeNull();
      expect(own.slice(1)).toEqual((await likelihoods(ids)).map((value) => expect.closeTo(value, 3)));
      expect(text.slice(at[3], at[4])).toBe(tokens[3] ?? "-");
      for (const [index, named] of top.entries()) {
        if (index === 0) continue;
        const best = Math.max(...Object.values(named));
        expect(own[index]).toBeLessThanOrEqual(best);
        // The token's own number is the one that stands among the best.
        if (Object.hasOwn(named, tokens[index] ?? "")) expect(named[tokens[index] ?? ""]).toBe(own[index] ?? NaN);
      }
    }
  });

  test("stands before what is written, whole and as a stream, with several prompts", async () => {
    await using serving = serveStories(made.model);
    const prompt = texts.map(({ text }) => text);
    const body = { model: "storyteller", prompt, echo: true, logprobs: 1, max_tokens: 5 };
    const { choices } = await serving.client.completions.create(body);
    for (const [index, choice] of choices.entries()) {
      const { text = "", greedy_text: greedy = "", ids = [] } = texts[index] ?? {};
      expect(choice.text).toStartWith(text);
      expect(text + greedy).toStartWith(choice.text);
      expect(choice.logprobs?.tokens).toHaveLength(ids.length + 5);
      expect(choice.logprobs?.text_offset?.[ids.length]).toBe(text.length);
      const written = choice.logprobs?.token_logprobs?.slice(ids.length) ?? [];
      const named = choice.logprobs?.top_logprobs?.slice(ids.length) ?? [];
      expect(named.map((one) => Math.max(...Object.values(one)))).toEqual(written);
    }
    const streamed = prompt.map(() => ({ text: "", tokens: [] as string[] }));
    for await (const chunk of await serving.client.completions.create({ ...body, stream: true })) {
      const [{ index, text, logprobs } = { index: 0, text: "", logprobs: null }] = chunk.choices;
      const state = streamed[index];
      if (state === undefined) throw new Error(`text ${index}`);
      state.text += text;
      state.tokens.push(...(logprobs?.tokens ?? []));
    }
    expect(streamed).toEqual(choices.map(({ text, logprobs }) => ({ text, tokens: logprobs?.tokens ?? [] })));
    const plain = await serving.client.completions.create({ ...body, logprobs: null, prompt: prompt[0] ?? "" });
    expect(plain.choices[0]).toMatchObject({ text: choices[0]?.text ?? "", logprobs: null });
  });
});

test("every token that was made has its place beside an echo, the one that ended it as well", async () => {
  const [{ ids, text, greedy_ids: greedy }] = texts;
  const stop = greedy[3] ?? NaN;
  const stopping = made.at("stopping");
  await cp(STORIES, stopping, { recursive: true });
  await Bun.write(join(stopping, "generation_config.json"), JSON.stringify({ eos_token_id: [stop] }));
  await using stoppingModel = await LanguageModel.load({
    location: { folder: stopping, weights: undefined },
    device: TEST_DEVICE,
  });
  await using serving = serveStories(stoppingModel);
  const before = greedy.slice(0, greedy.indexOf(stop));
  const body = { model: "storyteller", prompt: text, echo: true, logprobs: 1, max_tokens: 20 };
  const { choices, usage } = await serving.client.completions.create(body);
  const { tokens = [], token_logprobs: own = [], text_offset: at = [] } = choices[0]?.logprobs ?? {};
  expect([choices[0]?.finish_reason, usage?.completion_tokens]).toEqual(["stop", before.length]);
  expect([tokens.length, own.length]).toEqual(Array(2).fill(ids.length + before.length + 1));
  expect(at.at(-1)).toBe(choices[0]?.text.length ?? NaN);
  const pieces = [];
  for await (const chunk of await serving.client.completions.create({ ...body, stream: true })) {
    pieces.push(...(chunk.choices[0]?.logprobs?.tokens ?? []));
  }
  expect(pieces).toEqual(tokens);
  // Without an echo it is not part of the answer.
  const plain = await serving.client.completions.create({ ...body, echo: false });
  expect(plain.choices[0]?.logprobs?.tokens).toHaveLength(before.length);
});
