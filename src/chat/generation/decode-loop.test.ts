import { expect, setDefaultTimeout, spyOn, test } from "bun:test";
import { GREEDY } from "../testing/decoder.ts";
import { StoryTexts, type Text, tokensOf } from "../testing/story-texts.ts";
import { TURN } from "./line.ts";
import { DEFAULT_SAMPLING } from "./sampling.ts";
import { DecodeLoop } from "./decode-loop.ts";
import { EmbeddingSequence } from "./embedding.ts";
import { endOf } from "./sequence.ts";
import { BeamSequence } from "./beam-search.ts";
import { SampledSequence } from "./sampled-sequence.ts";

setDefaultTimeout(120_000);

const stories = StoryTexts.forTests();
const wanted = (at: number, count: number) => stories.wanted(at, count);
const text = (...args: Parameters<StoryTexts["text"]>) => stories.text(...args);

test("a text begins when there is a row for it, and positions are promised to no more than there are", async () => {
  // Two slots of one block each, though there are rows for three.
  using loop = new DecodeLoop(stories.decoder, { rows: 3, positions: 512 });
  const [one, two] = [text(loop, 0, 10), text(loop, 1, 20)];
  const before: number[] = [];
  const three = text(loop, 2, 8, { onToken: () => before.push(one.made.tokens.length) });
  await Promise.all([one.end, two.end, three.end]);
  expect(before[0]).toBe(10);
  // All begin with the same token.
  expect([one, two, three].map(({ made }) => made.cached)).toEqual([0, 0, 1]);
  expect(tokensOf([one, two, three])).toEqual([wanted(0, 10), wanted(1, 20), wanted(2, 8)]);
  const beams = (count: number, maxTokens: number) =>
    new BeamSequence({ prompt: [5, 6], beams: count, maxTokens, stopTokens: new Set(), context: 1024 });
  const tooMany = endOf(loop.write(beams(3, 500)));
  await expect(tooMany).rejects.toMatchObject({
    code: "memory",
    message: expect.stringMatching(/^3 sequences of 502 tokens are more .* 0 fit$/),
  });
  using narrow = new DecodeLoop(stories.decoder, { rows: 4, positions: 4096 });
  const ends: string[] = [];
  const searches = [3, 2].map(async (count) => {
    await endOf(narrow.write(beams(count, 3)));
    ends.push(`${count} beams`);
  });
  await Promise.all([...searches, text(narrow, 0, 1).end.then(() => ends.push("one"))]);
  // Who is next has the rows that are there next: nobody who takes fewer overtakes.
  expect(ends[0]).toBe("3 beams");
});

test("what fails, or is left, is alone in that", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 4, positions: 2048 });
  const left = new AbortController();
  const failing = text(loop, 0, 20, {
    onToken(made) {
      if (made === 4) throw new Error("no room on the disk");
    },
  });
  const leaving = text(loop, 1, 20, {
    signal: left.signal,
    onToken: (made) => made === 6 && left.abort(new Error("gone")),
  });
  const [one, two] = [text(loop, 2, 20), text(loop, 0, 20)];
  expect([await failing.end, await leaving.end]).toMatchObject([
    { message: "no room on the disk" },
    { message: "gone" },
  ]);
  expect([await one.end, await two.end]).toEqual(["length", "length"]);
  expect(tokensOf([failing, leaving]).map(({ length }) => length)).toEqual([4, 6]);
  expect(tokensOf([one, two])).toEqual([wanted(2, 20), wanted(0, 20)]);
  expect(loop.size).toBe(0);
});

test("whoever takes nothing holds up only his own text", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 2, positions: 2048 });
  const options = { sampling: GREEDY, maxTokens: 100, stopTokens: new Set<number>(), context: 512 };
  const slow = new SampledSequence({ ...options, prompt: stories.prompts[0] ?? [] });
  const taken = loop.write(slow);
  await taken.next();
  const quick = text(loop, 1, 80);
  expect(await quick.end).toBe("length");
  expect(slow.out.isFull).toBeTrue();
  expect(loop.size).toBe(1);
  const tokens: number[] = [];
  expect(await endOf(taken, (item) => void (item.kind === "token" && tokens.push(item.id)))).toMatchObject({
    reason: "length",
  });
  expect(tokens.slice(0, 60)).toEqual(wanted(0, 60));
});

test("nor does he hold up what ends with its prompt, or cannot begin", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 2, positions: 1024 });
  const options = { sampling: GREEDY, maxTokens: 100, stopTokens: new Set<number>(), context: 512 };
  const slow = new SampledSequence({ ...options, prompt: stories.prompts[0] ?? [] });
  const taken = loop.write(slow);
  await taken.next();
  while (!slow.out.isFull) await loop.advance();
  expect(await text(loop, 1, 0).end).toBe("length");
  const embedding = new EmbeddingSequence(stories.decoder, stories.prompts[1] ?? [], { pooling: "mean", context: 512 });
  expect(await endOf(loop.write(embedding))).toHaveLength(stories.decoder.config.hiddenSize);
  const long = Array.from({ length: 1100 }, () => 5);
  expect(await text(loop, 1, 1, { prompt: long, context: 2048 }).end).toMatchObject({ code: "data" });
  expect([loop.size, slow.out.isFull]).toEqual([1, true]);
  await taken.return({ reason: "stop", stop: undefined });
  expect(loop.size).toBe(0);
});

test("where there are no turns, whoever takes nothing and is told to leave makes room for others", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 1, positions: 1024, promptsFirst: true });
  const left = new AbortController();
  const options = { sampling: GREEDY, maxTokens: 100, stopTokens: new Set<number>(), context: 512 };
  const slow = new SampledSequence({ ...options, prompt: stories.prompts[0] ?? [], signal: left.signal });
  const taken = loop.write(slow);
  await taken.next();
  const next = text(loop, 1, 5);
  while (!slow.out.isFull) await Bun.sleep(1);
  // The loop has nothing to do.
  await Bun.sleep(20);
  left.abort(new Error("too slow"));
  expect(await next.end).toBe("length");
  await taken.return({ reason: "stop", stop: undefined });
});

test("a turn ends where others wait: long texts take turns, keep what was computed, and a short one is soon done", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 2, positions: 8192 });
  const long = [0, 1, 2, 0].map((at) => text(loop, at, 200, { owner: `${at}` }));
  const options = { sampling: GREEDY, maxTokens: 200, stopTokens: new Set<number>(), context: 512 };
  const unread = new SampledSequence({ ...options, prompt: stories.prompts[2] ?? [] });
  const taken = loop.write(unread);
  await taken.next();
  const count = () => long.reduce((sum, { made }) => sum + made.tokens.length, 0);
  while (count() < 150) await Bun.sleep(1);
  const before = count();
  const short = text(loop, 1, 4, { owner: "short" });
  await short.end;
  // One of the long ones has made a turn's tokens by then, and both go on beside its own.
  expect(count() - before).toBeLessThan(3 * TURN);
  using prompted = spyOn(SampledSequence.prototype, "prompted");
  await Promise.all(long.map(({ end }) => end));
  // All had begun, and none begins again; nor does one that nobody reads keep others from their turns.
  expect(prompted).not.toHaveBeenCalled();
  prompted.mockRestore();
  expect(tokensOf([...long, short]).map((tokens) => tokens.slice(0, 60))).toEqual(
    [0, 1, 2, 0, 1].map((at, n) => wanted(at, n === 4 ? 4 : 60)),
  );
  const rest: number[] = [];
  await endOf(taken, (item) => void (item.kind === "token" && rest.push(item.id)));
  expect(rest).toEqual(long[2]?.made.tokens ?? []);
});

test("where positions are too few for all, who began last gives way, begins again, and writes what he would alone", async () => {
  const hot = { ...DEFAULT_SAMPLING, temperature: 1.5, seed: 3 };
  // Prompts of about 500 tokens, which take two blocks; each text needs a third one.
  const long = [0, 1, 2].map((at) => Array.from({ length: 490 }, (_, n) => 3 + ((n * 37 + at * 101) % 500)));
  const write = async (loop: DecodeLoop, together: boolean) => {
    const all: Text[] = [];
    for (const [at, prompt] of long.entries()) {
      const sampling = at === 1 ? hot : GREEDY;
      all.push(text(loop, 0, 40, { prompt, context: 1024, owner: `${at}`, sampling }));
      if (!together) await all.at(-1)?.end;
    }
    const searched = endOf(
      loop.write(
        new BeamSequence({ prompt: long[0] ?? [], beams: 2, maxTokens: 40, stopTokens: new Set(), context: 1024 }),
      ),
    );
    return { ends: await Promise.all(all.map(({ end }) => end)), tokens: tokensOf(all), best: await searched };
  };
  using wide = new DecodeLoop(stories.decoder, { rows: 5, positions: 16_384 });
  const alone = await write(wide, false);
  expect(alone.ends).toEqual(["length", "length", "length"]);
  using narrow = new DecodeLoop(stories.decoder, { rows: 5, positions: 1792 });
  using ended = spyOn(SampledSequence.prototype, "prompted");
  expect(await write(narrow, true)).toEqual(alone);
  // Some have begun more than once.
  expect(ended.mock.calls.length).toBeGreaterThan(3);
  ended.mockRestore();
  const tooLong = text(narrow, 0, 2000, { context: 4096 });
  expect(await tooLong.end).toMatchObject({ code: "data", message: expect.stringContaining(": 1792 fit") });
  // One of which nobody knows how long it becomes ends when there is no room for more, and the others go on.
  using tiny = new DecodeLoop(stories.decoder, { rows: 2, positions: 512 });
  const endless = text(tiny, 0, Infinity, { context: 4096 });
  const other = text(tiny, 1, 60);
  expect([await endless.end, await other.end]).toEqual([expect.objectContaining({ code: "data" }), "length"]);
  expect(other.made.tokens).toEqual(wanted(1, 60));
});

test("a text whose filter is not ready sits out the steps of others", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 2, positions: 2048 });
  const ready = Promise.withResolvers<void>();
  let asked = 0;
  const filter = {
    prepare: async () => void (++asked === 3 && (await ready.promise)),
    apply: () => {},
    push: () => false,
  };
  const [slow, quick] = [text(loop, 0, 12, { filter }), text(loop, 1, 20)];
  await quick.end;
  expect(slow.made.tokens).toEqual(wanted(0, 12).slice(0, 2));
  ready.resolve();
  await slow.end;
  expect(tokensOf([slow, quick])).toEqual([wanted(0, 12), wanted(1, 20)]);
  expect(asked).toBe(12);
});
