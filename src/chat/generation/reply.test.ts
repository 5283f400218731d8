import { afterAll, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { expectedStories } from "../../../fixtures/stories/storyteller.ts";
import { type Reply, type ReplyOptions, speeds, writeReply } from "./reply.ts";
import { GREEDY, loadStories } from "../testing/decoder.ts";

let stories: Awaited<ReturnType<typeof loadStories>>;
let texts: Awaited<ReturnType<typeof expectedStories>>;
beforeAll(async () => {
  [stories, texts] = await Promise.all([loadStories(), expectedStories()]);
}, 120_000);
afterAll(() => stories.gpu.close());

const first = () => texts[0];

async function write(options: Partial<ReplyOptions> = {}, cache = stories.decoder.createCache(), ids = first().ids) {
  const pieces: string[] = [];
  const reply = await writeReply(stories, cache, ids, {
    sampling: GREEDY,
    maxTokens: 64,
    onText: (piece) => pieces.push(piece),
    ...options,
  });
  expect(pieces.join("")).toBe(reply.text);
  return { reply, pieces };
}

test("the text is transformers', and comes piece by piece", async () => {
  const { reply, pieces } = await write();
  const { greedy_ids: tokens, greedy_text: text, ids } = first();
  expect(reply).toMatchObject({ text, tokens, promptTokens: ids.length, cachedTokens: 0, finishReason: "length" });
  expect(pieces.length).toBeGreaterThan(40);
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
    const cache = stories.decoder.createCache();
    const reply = await writeReply({ ...stories, stopTokens: new Set([id]) }, cache, first().ids, {
      sampling: GREEDY,
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
    const after = await write({ maxTokens: 4 }, stories.decoder.createCache(), begun);
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
    const onText = (piece: string): void => {
      seen += piece;
      if (seen.length > 10) stop.abort();
    };
    const cache = stories.decoder.createCache();
    const options = { sampling: GREEDY, signal: stop.signal, onText };
    const reply = await writeReply(stories, cache, first().ids, options);
    expect(reply).toMatchObject({ text: seen, finishReason: "cancelled" });
    expect(first().greedy_text).toStartWith(reply.text);
    expect(reply.text.length).toBeGreaterThan(10);
    expect((await write({ signal: stop.signal })).reply).toMatchObject({ text: "", finishReason: "cancelled" });
    // What the cache holds is still right.
    expect((await write({}, cache)).reply.tokens).toEqual(first().greedy_ids);
  });
});

describe("the cache", () => {
  test("is reused as far as two prompts agree, and changes nothing", async () => {
    const cache = stories.decoder.createCache();
    const { ids, greedy_ids: greedy } = first();
    await write({ maxTokens: 20 }, cache);
    const { reply } = await write({ maxTokens: 10 }, cache, [...ids, ...greedy.slice(0, 30)]);
    expect(reply.cachedTokens).toBe(ids.length + 19);
    expect(reply.tokens).toEqual(greedy.slice(30, 40));
    const same = await write({ maxTokens: 10 }, cache);
    expect(same.reply.cachedTokens).toBe(ids.length - 1);
    expect(same.reply.tokens).toEqual(greedy.slice(0, 10));
    const other = texts[1] ?? first();
    const { reply: fresh } = await write({}, cache, other.ids);
    expect(fresh.cachedTokens).toBe(1);
    expect(fresh.tokens).toEqual(other.greedy_ids);
  });

  test("is not trusted after a slide, nor after it was emptied", async () => {
    const cache = stories.decoder.createCache();
    const { ids, greedy_ids: greedy } = first();
    const slid = await write({ context: ids.length + 8, shift: true, maxTokens: 20 }, cache);
    expect(slid.reply.tokens.slice(0, 8)).toEqual(greedy.slice(0, 8));
    // But for the token that both begin with.
    expect((await write({}, cache)).reply).toMatchObject({ cachedTokens: 1, tokens: greedy });
    cache.truncate(0);
    expect((await write({ maxTokens: 3 }, cache)).reply.cachedTokens).toBe(0);
  });
});

describe("a long prompt", () => {
  const long = () => Array.from({ length: 25 }, () => first().ids).flat();

  test("in blocks is the prompt in one", async () => {
    const { signal } = new AbortController();
    const inBlocks = await write({ signal, maxTokens: 20 }, stories.decoder.createCache(), long());
    const inOne = await write({ maxTokens: 20 }, stories.decoder.createCache(), long());
    expect(inBlocks.reply.tokens).toEqual(inOne.reply.tokens);
  });

  test("is given up between two blocks, and gone on with later", async () => {
    const cache = stories.decoder.createCache();
    const stop = new AbortController();
    const idle = stories.gpu.idle.bind(stories.gpu);
    const waits = spyOn(stories.gpu, "idle").mockImplementation(async () => {
      await idle();
      stop.abort();
    });
    const { reply } = await write({ signal: stop.signal }, cache, long());
    waits.mockRestore();
    expect(reply).toMatchObject({ finishReason: "cancelled", tokens: [] });
    expect(cache.length).toBeGreaterThan(0);
    expect(cache.length).toBeLessThan(long().length);
    const { reply: later } = await write({ maxTokens: 20 }, cache, long());
    expect(later.cachedTokens).toBeGreaterThan(0);
    const whole = await write({ maxTokens: 20 }, stories.decoder.createCache(), long());
    expect(later.tokens).toEqual(whole.reply.tokens);
  });
});

test("speeds count what was computed", () => {
  const reply: Reply = {
    text: "",
    tokens: [1, 2, 3],
    promptTokens: 10,
    cachedTokens: 6,
    finishReason: "stop",
    prefillSeconds: 2,
    decodeSeconds: 0.5,
  };
  expect(speeds(reply)).toEqual({ prefill: 2, decode: 4 });
  expect(speeds({ ...reply, tokens: [], prefillSeconds: 0, decodeSeconds: 0 })).toEqual({ prefill: 0, decode: 0 });
});
