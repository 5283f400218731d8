import { afterAll, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { expectedStories } from "../../../fixtures/stories/storyteller.ts";
import { DecodeLoop } from "./decode-loop.ts";
import { endOf } from "./sequence.ts";
import { type Reply, type ReplyOptions, type ReplyPiece, replySequence, speeds, writeReply } from "./reply.ts";
import { DEFAULT_SAMPLING } from "./sampling.ts";
import { GREEDY, loadStories, write as writeWith } from "../testing/decoder.ts";

let stories: Awaited<ReturnType<typeof loadStories>>;
let texts: Awaited<ReturnType<typeof expectedStories>>;
beforeAll(async () => {
  [stories, texts] = await Promise.all([loadStories(), expectedStories()]);
}, 120_000);
afterAll(() => stories.gpu.close());

const first = () => texts[0];

const newLoop = () => new DecodeLoop(stories.decoder, { rows: 1, positions: 8192, keepsAnswers: true });

async function write(options: Partial<ReplyOptions> = {}, loop = newLoop(), ids = first().ids) {
  const pieces: ReplyPiece[] = [];
  const reply = await writeWith(stories, loop, ids, options, (piece) => pieces.push(piece));
  expect(pieces.map(({ text }) => text).join("")).toBe(reply.text);
  return { reply, pieces };
}

test("the text is transformers', and comes piece by piece", async () => {
  const { reply, pieces } = await write();
  const { greedy_ids: tokens, greedy_text: text, ids } = first();
  expect(reply).toMatchObject({ text, tokens, promptTokens: ids.length, cachedTokens: 0, finishReason: "length" });
  expect(pieces.length).toBeGreaterThan(40);
});

test("a prompt's time counts from when its turn came, not from when somebody takes what is there", async () => {
  const { ids } = first();
  const options = { sampling: GREEDY, maxTokens: 2 };
  const sequence = replySequence(stories, ids, options);
  const minuteAgo = sequence.began - 60_000;
  const { prefillSeconds } = await endOf(writeReply(stories, ids, options, newLoop().write(sequence), minuteAgo));
  expect(prefillSeconds).toBeGreaterThan(60);
});

describe("ends", () => {
  test("at a stop text, which spans tokens and is left out", async () => {
    const { reply } = await write({ stops: ["never", "yellow cake"] });
    expect(reply.text).toBe(
      "Mia had a rabbit. She wanted to play with the hat. It was a sunny day. Then he saw a small ",
    );
    expect(reply.finishReason).toBe("stop");
  });

  test("with what looked like a stop text and was none", async () => {
    const { reply } = await write({ stops: ["small yellow cat"] });
    expect(reply).toMatchObject({ text: first().greedy_text, finishReason: "length" });
  });

  test("at a stop token, which is left out", async () => {
    const [id = NaN] = first().greedy_ids.slice(10);
    const reply = await writeWith({ ...stories, stopTokens: new Set([id]) }, newLoop(), first().ids, {
      maxTokens: undefined,
    });
    expect(reply.tokens).toEqual(first().greedy_ids.slice(0, first().greedy_ids.indexOf(id)));
    expect(reply.finishReason).toBe("stop");
  });

  test("not at the context under shift, where the token that texts begin with stays", async () => {
    const { ids, greedy_ids: greedy } = first();
    expect(ids[0]).toBe(stories.tokenizer.beginning);
    const context = ids.length + 6;
    const { reply } = await write({ context, shift: true, maxTokens: 10 });
    expect(reply.tokens.slice(0, 6)).toEqual(greedy.slice(0, 6));
    const newer = [...ids, ...greedy.slice(0, 6)].slice(1 - Math.ceil(context / 2));
    const begun = [...ids.slice(0, 1), ...newer];
    const after = await write({ maxTokens: 4 }, newLoop(), begun);
    expect(reply.tokens.slice(6)).toEqual([...after.reply.tokens]);
  });

  test("with the context", async () => {
    const context = first().ids.length + 5;
    const { reply } = await write({ context, maxTokens: undefined });
    expect([reply.tokens.length, reply.finishReason]).toEqual([5, "length"]);
  });

  test("when it is cancelled, keeping what there is", async () => {
    const stop = new AbortController();
    let seen = "";
    using loop = newLoop();
    const reply = await writeWith(stories, loop, first().ids, { signal: stop.signal }, ({ text }) => {
      seen += text;
      if (seen.length > 10) stop.abort();
    });
    expect(reply).toMatchObject({ text: seen, finishReason: "cancelled" });
    expect(first().greedy_text).toStartWith(reply.text);
    expect(reply.text.length).toBeGreaterThan(10);
    expect((await write({ signal: stop.signal })).reply).toMatchObject({ text: "", finishReason: "cancelled" });
    // What was computed is still right.
    expect((await write({}, loop)).reply.tokens).toEqual(first().greedy_ids);
  });
});

describe("the cache", () => {
  test("is reused as far as two prompts agree, and changes nothing", async () => {
    using loop = newLoop();
    const { ids, greedy_ids: greedy } = first();
    await write({ maxTokens: 20 }, loop);
    const { reply } = await write({ maxTokens: 10 }, loop, [...ids, ...greedy.slice(0, 30)]);
    expect(reply.cachedTokens).toBe(ids.length + 19);
    expect(reply.tokens).toEqual(greedy.slice(30, 40));
    const same = await write({ maxTokens: 10 }, loop);
    expect(same.reply.cachedTokens).toBe(ids.length - 1);
    expect(same.reply.tokens).toEqual(greedy.slice(0, 10));
    const other = texts[1] ?? first();
    const { reply: fresh } = await write({}, loop, other.ids);
    expect(fresh.cachedTokens).toBe(1);
    expect(fresh.tokens).toEqual(other.greedy_ids);
  });

  test("is not trusted after a slide, nor after it was emptied", async () => {
    using loop = newLoop();
    const { ids, greedy_ids: greedy } = first();
    const slid = await write({ context: ids.length + 8, shift: true, maxTokens: 20 }, loop);
    expect(slid.reply.tokens.slice(0, 8)).toEqual(greedy.slice(0, 8));
    // But for the token that both begin with.
    expect((await write({}, loop)).reply).toMatchObject({ cachedTokens: 1, tokens: greedy });
    loop.weightsChanged();
    expect((await write({ maxTokens: 3 }, loop)).reply.cachedTokens).toBe(0);
  });
});

const HOT = { ...DEFAULT_SAMPLING, temperature: 1.5, seed: 5, presencePenalty: 1 };

describe("beside others", () => {
  test.each([
    ["greedy", { sampling: GREEDY }],
    ["hot, with penalties", { sampling: HOT }],
    ["the best 40", { sampling: { ...DEFAULT_SAMPLING, seed: 3 } }],
    ["all", { sampling: { ...DEFAULT_SAMPLING, topK: 0, temperature: 1.2 } }],
    ["to a stop text", { sampling: GREEDY, stops: ["never", "yellow cake"] }],
    ["to the context's end", { sampling: GREEDY, context: 40 }],
    ["sliding on", { sampling: GREEDY, context: 40, shift: true }],
  ])("a reply is the one that is written alone: %s", async (_, options) => {
    const { reply: alone } = await write(options);
    using loop = new DecodeLoop(stories.decoder, { rows: 4, positions: 2048 });
    const others = texts.slice(1).map(({ ids }) => writeWith(stories, loop, ids, { maxTokens: 20 }));
    const together = await writeWith(stories, loop, first().ids, options);
    await Promise.all(others);
    const { text, tokens, finishReason, promptTokens } = together;
    const { text: wanted, ...other } = alone;
    expect({ text, tokens, finishReason, promptTokens }).toEqual({
      text: wanted,
      tokens: other.tokens,
      finishReason: other.finishReason,
      promptTokens: first().ids.length,
    });
  });
});

describe("probabilities", () => {
  test("each token says where its text begins", async () => {
    const { reply, pieces } = await write({ topLogprobs: 1, stops: ["yellow cake"] });
    const seen = pieces.flatMap(({ token }) => token ?? []);
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
  ])("may be looked at and change nothing: %s", async (_, sampling) => {
    const { reply, pieces } = await write({ sampling, topLogprobs: 3 });
    const seen = pieces.flatMap(({ token }) => token ?? []);
    expect(reply.tokens).toEqual((await write({ sampling })).reply.tokens);
    expect(seen.map(({ id }) => id)).toEqual([...reply.tokens]);
    for (const [at, { id, logprob, top }] of seen.entries()) {
      expect(top).toHaveLength(3);
      expect(logprob).toBeLessThanOrEqual(top[0]?.logprob ?? NaN);
      if (sampling === GREEDY) expect([at, top[0]]).toEqual([at, { id, logprob }]);
    }
  });

  test("of the prompt and of the reply are the reference's", async () => {
    const { ids, greedy_ids: greedy } = first();
    const { pieces } = await write({ maxTokens: 5, topLogprobs: 0, promptLogprobs: 2 });
    const [prompt = []] = pieces.flatMap(({ prompt }) => (prompt === undefined ? [] : [prompt]));
    using whole = stories.decoder.createCache();
    const nll = await stories.decoder.nll(whole, [...ids, ...greedy.slice(0, 5)]);
    const wanted = Array.from(nll, (value) => expect.closeTo(-value, 3));
    const seen = pieces.flatMap(({ token }) => token ?? []);
    expect([...prompt.slice(1), ...seen].map(({ logprob }) => logprob)).toEqual(wanted);
    expect(prompt.map(({ id }) => id)).toEqual(ids);
    expect(prompt[0]).toEqual({ id: ids[0] ?? NaN, logprob: undefined, top: [] });
    for (const { top } of prompt.slice(1)) expect(top).toHaveLength(2);
  });

  test("of the prompt alone may be asked for", async () => {
    const { reply, pieces } = await write({ maxTokens: 0, promptLogprobs: 1 });
    expect(reply).toMatchObject({ text: "", tokens: [], finishReason: "length", stop: undefined });
    expect(pieces[0]?.prompt).toHaveLength(first().ids.length);
  });
});

describe("a long prompt", () => {
  const long = () => Array.from({ length: 25 }, () => first().ids).flat();

  test("is given up between two blocks, and gone on with later", async () => {
    using loop = newLoop();
    const stop = new AbortController();
    const idle = stories.gpu.idle.bind(stories.gpu);
    using waits = spyOn(stories.gpu, "idle").mockImplementation(async () => {
      await idle();
      stop.abort();
    });
    const { reply } = await write({ signal: stop.signal }, loop, long());
    waits.mockRestore();
    expect(reply).toMatchObject({ finishReason: "cancelled", tokens: [] });
    const { reply: later } = await write({ maxTokens: 20 }, loop, long());
    expect(later.cachedTokens).toBeGreaterThan(0);
    expect(later.cachedTokens).toBeLessThan(long().length - 1);
    const whole = await write({ maxTokens: 20 }, newLoop(), long());
    expect(later.tokens).toEqual(whole.reply.tokens);
  });
});

test("speeds count what was computed", () => {
  const reply: Reply = {
    text: "",
    tokens: [1, 2, 3],
    promptTokens: 10,
    offsets: [],
    cachedTokens: 6,
    finishReason: "stop",
    prefillSeconds: 2,
    decodeSeconds: 0.5,
  };
  expect(speeds(reply)).toEqual({ prefill: 2, decode: 4 });
  expect(speeds({ ...reply, tokens: [], prefillSeconds: 0, decodeSeconds: 0 })).toEqual({ prefill: 0, decode: 0 });
});
