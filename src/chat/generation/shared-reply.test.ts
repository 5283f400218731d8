import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { expectedStories } from "../../../fixtures/stories/storyteller.ts";
import { writeReply } from "./reply.ts";
import { DEFAULT_SAMPLING } from "./sampling.ts";
import {
  type PromptToken,
  type ReplyToken,
  type SharedReply,
  shareReply,
  type SharedReplyOptions,
} from "./shared-reply.ts";
import { GREEDY, loadStories } from "../testing/decoder.ts";
import { DecodeLoop } from "./decode-loop.ts";

setDefaultTimeout(120_000);

let stories: Awaited<ReturnType<typeof loadStories>>;
let texts: Awaited<ReturnType<typeof expectedStories>>;
beforeAll(async () => {
  [stories, texts] = await Promise.all([loadStories(), expectedStories()]);
});
afterAll(() => stories.gpu.close());

const first = () => texts[0];

async function write(options: Partial<SharedReplyOptions> = {}, ids = first().ids): Promise<SharedReply> {
  using loop = new DecodeLoop(stories.decoder, { rows: 4, positions: 2048 });
  const { signal } = new AbortController();
  const { sequence, reply, begin } = shareReply(stories, ids, { sampling: GREEDY, maxTokens: 64, signal, ...options });
  expect(await loop.begin(sequence)).toBeTrue();
  begin();
  while (loop.size > 0) await loop.turn();
  return await reply;
}

const HOT = { ...DEFAULT_SAMPLING, temperature: 1.5, seed: 5, presencePenalty: 1 };

test.each([
  ["greedy", { sampling: GREEDY }],
  ["hot, with penalties", { sampling: HOT }],
  ["the best 40", { sampling: { ...DEFAULT_SAMPLING, seed: 3 } }],
  ["all", { sampling: { ...DEFAULT_SAMPLING, topK: 0, temperature: 1.2 } }],
  ["to a stop text", { sampling: GREEDY, stops: ["never", "yellow cake"] }],
  ["to the context's end", { sampling: GREEDY, context: 40 }],
])("a reply is the one that is written alone: %s", async (_, options) => {
  using cache = stories.decoder.createCache();
  const alone = await writeReply(stories, cache, first().ids, { maxTokens: 64, ...options });
  const { text, tokens, finishReason, promptTokens, cachedTokens } = await write(options);
  expect({ text, tokens, finishReason, promptTokens, cachedTokens }).toEqual({
    text: alone.text,
    tokens: alone.tokens,
    finishReason: alone.finishReason === "cancelled" ? "stop" : alone.finishReason,
    promptTokens: first().ids.length,
    cachedTokens: 0,
  });
});

test("each token says where its text begins", async () => {
  const seen: ReplyToken[] = [];
  const onToken = (token: ReplyToken): void => void seen.push(token);
  const reply = await write({ topLogprobs: 1, onToken, stops: ["yellow cake"] });
  expect(seen.map(({ id }) => id)).toEqual([...reply.tokens]);
  const words = seen.map(({ offset }, at) => reply.text.slice(offset, seen[at + 1]?.offset));
  expect(words.join("")).toBe(reply.text);
  for (const [at, { id }] of seen.entries()) {
    const word = stories.tokenizer.decode([id]);
    // The last word before the end may be cut short by the stop text.
    expect(word).toStartWith((words[at] ?? "").trimStart());
  }
  expect(seen.at(-1)?.offset).toBeGreaterThanOrEqual(reply.text.length);
});

test.each([
  ["greedy", GREEDY],
  ["hot, with penalties", HOT],
])("probabilities may be looked at and change nothing: %s", async (_, sampling) => {
  const seen: ReplyToken[] = [];
  const looking = await write({ sampling, topLogprobs: 3, onToken: (token) => seen.push(token) });
  expect(looking.tokens).toEqual((await write({ sampling })).tokens);
  expect(seen.map(({ id }) => id)).toEqual([...looking.tokens]);
  for (const [at, { id, logprob, top }] of seen.entries()) {
    expect(top).toHaveLength(3);
    expect(logprob).toBeLessThanOrEqual(top[0]?.logprob ?? NaN);
    if (sampling === GREEDY) expect([at, top[0]]).toEqual([at, { id, logprob }]);
  }
});

test("probabilities of the prompt and of the reply are the reference's", async () => {
  const { ids, greedy_ids: greedy } = first();
  const seen: ReplyToken[] = [];
  let prompt: readonly PromptToken[] = [];
  const reply = await write({
    maxTokens: 5,
    topLogprobs: 0,
    promptLogprobs: 2,
    onToken: (token) => seen.push(token),
    onPrompt: (tokens) => void (prompt = tokens),
  });
  using whole = stories.decoder.createCache();
  const nll = await stories.decoder.nll(whole, [...ids, ...greedy.slice(0, 5)]);
  const wanted = Array.from(nll, (value) => expect.closeTo(-value, 3));
  expect([...prompt.slice(1), ...seen].map(({ logprob }) => logprob)).toEqual(wanted);
  expect(prompt.map(({ id }) => id)).toEqual(ids);
  expect(reply.prompt).toEqual(prompt);
  expect(prompt[0]).toEqual({ id: ids[0] ?? NaN, logprob: undefined, top: [] });
  for (const { top } of prompt.slice(1)) expect(top).toHaveLength(2);
});

test("no tokens but those of the prompt may be asked for", async () => {
  const reply = await write({ maxTokens: 0, promptLogprobs: 1 });
  expect(reply).toMatchObject({ text: "", tokens: [], finishReason: "length", stop: undefined });
  expect(reply.prompt).toHaveLength(first().ids.length);
});
