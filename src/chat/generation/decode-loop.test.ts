import { afterAll, beforeAll, expect, setDefaultTimeout, spyOn, test } from "bun:test";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { RandloraError } from "../../files/errors.ts";
import { Batch } from "../../models/decoder/cache/batch.ts";
import { Decoder } from "../../models/decoder/decoder.ts";
import { decode, GREEDY, type Made } from "../testing/decoder.ts";
import { TURN } from "./active.ts";
import { DEFAULT_SAMPLING } from "./sampling.ts";
import { DecodeLoop } from "./decode-loop.ts";
import { EmbeddingSequence } from "./embedding.ts";
import { endOf } from "./outbox.ts";
import { BeamSequence } from "./beam-sequence.ts";
import { type SampledOptions, SampledSequence } from "./sampled-sequence.ts";

setDefaultTimeout(120_000);

let gpu: Device;
let decoder: Decoder;
let prompts: number[][];
let greedy: number[][];
beforeAll(async () => {
  gpu = await openTestDevice();
  decoder = await Decoder.load(gpu, STORIES);
  const stories = await expectedStories();
  prompts = stories.map(({ ids }) => ids);
  greedy = stories.map(({ greedy_ids: ids }) => ids);
});
afterAll(() => gpu.close());

const wanted = (at: number, count: number): number[] => greedy[at]?.slice(0, count) ?? [];

interface Text {
  readonly made: Made;
  /** Settles when it has ended: with the reason, or what it failed with. */
  readonly end: Promise<unknown>;
}

function text(
  loop: DecodeLoop,
  at: number,
  maxTokens: number,
  { onToken, ...options }: Partial<SampledOptions> & { onToken?: (made: number) => void } = {},
): Text {
  const made: Made = { tokens: [], cached: NaN };
  const ended = decode(loop, { prompt: prompts[at] ?? [], maxTokens, ...options }, made, onToken);
  return {
    made,
    end: ended.then(
      ({ reason }) => reason,
      (error: unknown) => error,
    ),
  };
}

const tokensOf = (texts: readonly Text[]) => texts.map(({ made }) => made.tokens);

test("a text begins when there is a row for it, and positions are promised to no more than there are", async () => {
  // Two slots of one block each, though there are rows for three.
  using loop = new DecodeLoop(decoder, { rows: 3, positions: 512 });
  const [one, two] = [text(loop, 0, 10), text(loop, 1, 20)];
  const before: number[] = [];
  const three = text(loop, 2, 8, { onToken: () => before.push(one.made.tokens.length) });
  await Promise.all([one.end, two.end, three.end]);
  expect(before[0]).toBe(10);
  // All begin with the same token.
  expect([one, two, three].map(({ made }) => made.cached)).toEqual([0, 1, 1]);
  expect(tokensOf([one, two, three])).toEqual([wanted(0, 10), wanted(1, 20), wanted(2, 8)]);
  const beams = (count: number, maxTokens: number) =>
    new BeamSequence({ prompt: [5, 6], beams: count, maxTokens, stopTokens: new Set(), context: 1024 });
  const tooMany = endOf(loop.write(beams(3, 500)));
  await expect(tooMany).rejects.toMatchObject({
    code: "memory",
    message: expect.stringMatching(/^3 sequences of 502 tokens are more .* 0 fit$/),
  });
  using narrow = new DecodeLoop(decoder, { rows: 4, positions: 4096 });
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
  using loop = new DecodeLoop(decoder, { rows: 4, positions: 2048 });
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
  using loop = new DecodeLoop(decoder, { rows: 2, positions: 2048 });
  const options = { sampling: GREEDY, maxTokens: 100, stopTokens: new Set<number>(), context: 512 };
  const slow = new SampledSequence({ ...options, prompt: prompts[0] ?? [] });
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
  using loop = new DecodeLoop(decoder, { rows: 2, positions: 1024 });
  const options = { sampling: GREEDY, maxTokens: 100, stopTokens: new Set<number>(), context: 512 };
  const slow = new SampledSequence({ ...options, prompt: prompts[0] ?? [] });
  const taken = loop.write(slow);
  await taken.next();
  while (!slow.out.isFull) await loop.advance();
  expect(await text(loop, 1, 0).end).toBe("length");
  const embedding = new EmbeddingSequence(decoder, prompts[1] ?? [], { pooling: "mean", context: 512 });
  expect(await endOf(loop.write(embedding))).toHaveLength(decoder.config.hiddenSize);
  const long = Array.from({ length: 1100 }, () => 5);
  expect(await text(loop, 1, 1, { prompt: long, context: 2048 }).end).toMatchObject({ code: "data" });
  expect([loop.size, slow.out.isFull]).toEqual([1, true]);
  await taken.return({ reason: "stop", stop: undefined });
  expect(loop.size).toBe(0);
});

test("where there are no turns, whoever takes nothing and is told to leave makes room for others", async () => {
  using loop = new DecodeLoop(decoder, { rows: 1, positions: 1024, promptsFirst: true });
  const left = new AbortController();
  const options = { sampling: GREEDY, maxTokens: 100, stopTokens: new Set<number>(), context: 512 };
  const slow = new SampledSequence({ ...options, prompt: prompts[0] ?? [], signal: left.signal });
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
  using loop = new DecodeLoop(decoder, { rows: 2, positions: 8192 });
  const long = [0, 1, 2, 0].map((at) => text(loop, at, 200, { owner: `${at}` }));
  const options = { sampling: GREEDY, maxTokens: 200, stopTokens: new Set<number>(), context: 512 };
  const unread = new SampledSequence({ ...options, prompt: prompts[2] ?? [] });
  const taken = loop.write(unread);
  await taken.next();
  const count = () => long.reduce((sum, { made }) => sum + made.tokens.length, 0);
  while (count() < 150) await Bun.sleep(1);
  const before = count();
  const short = text(loop, 1, 4, { owner: "short" });
  await short.end;
  // One of the long ones has made a turn's tokens by then, and both go on beside its own.
  expect(count() - before).toBeLessThan(3 * TURN);
  const prompted = spyOn(SampledSequence.prototype, "prompted");
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

test("prompts that begin alike are computed once, until weights change", async () => {
  using loop = new DecodeLoop(decoder, { rows: 2, positions: 2048 });
  const length = prompts[0]?.length ?? 0;
  for (const cached of [0, length - 1, length - 1]) {
    // Weights must not change under a text that is being written.
    const one = text(loop, 0, 12, {
      onToken: (made) => made < 12 && expect(() => loop.weightsChanged()).toThrow("while texts were written"),
    });
    expect(await one.end).toBe("length");
    expect(one.made).toEqual({ cached, tokens: wanted(0, 12) });
  }
  loop.weightsChanged();
  const one = text(loop, 0, 12, { onToken: (made) => made === 2 && loop.abort(new Error("stopped")) });
  expect(await one.end).toMatchObject({ message: "stopped" });
  expect([one.made.cached, loop.size]).toEqual([0, 0]);
  // What was computed of it is as good as before.
  const other = text(loop, 0, 1);
  await other.end;
  expect(other.made.cached).toBe(length - 1);
});

test("the only kept prompt stays beside one that shares little of it, where there is room", async () => {
  const length = prompts[0]?.length ?? 0;
  // Of one block the other one's text takes all.
  for (const [positions, again] of [
    [512, length - 1],
    [256, 1],
  ] as const) {
    using loop = new DecodeLoop(decoder, { rows: 2, positions });
    for (const [at, cached] of [
      [0, 0],
      [1, 1],
      [0, again],
    ] as const) {
      const one = text(loop, at, 4);
      await one.end;
      expect(one.made).toEqual({ cached, tokens: wanted(at, 4) });
    }
  }
});

test.each([true, false])("so are those of texts that begin together, prompts first: %p", async (promptsFirst) => {
  using loop = new DecodeLoop(decoder, { rows: 4, positions: 2048, promptsFirst });
  const length = prompts[0]?.length ?? 0;
  const texts = [0, 1, 0, 0].map((at) => text(loop, at, 12));
  await Promise.all(texts.map(({ end }) => end));
  expect(texts.map(({ made }) => made.cached)).toEqual([0, 1, length - 1, length - 1]);
  expect(tokensOf(texts)).toEqual([0, 1, 0, 0].map((at) => wanted(at, 12)));
});

test("what was computed for another owner is computed again, while he writes and afterwards", async () => {
  using loop = new DecodeLoop(decoder, { rows: 4, positions: 4096 });
  const length = prompts[0]?.length ?? 0;
  const ask = (owner: string) => text(loop, 0, 12, { owner });
  const together = ["one", "other"].map(ask);
  await Promise.all(together.map(({ end }) => end));
  expect(together.map(({ made }) => made.cached)).toEqual([0, 0]);
  const counts: number[] = [];
  for (const owner of ["third", "one", "other", "third"]) {
    const asked = ask(owner);
    await asked.end;
    expect(asked.made.tokens).toEqual(wanted(0, 12));
    counts.push(asked.made.cached);
  }
  expect(counts).toEqual([0, length - 1, length - 1, length - 1]);
});

test("a short prompt that comes while a long one is read is in the very next pass, and has its token before the one after that", async () => {
  const long = Array.from({ length: 3000 }, (_, at) => 3 + ((at * 37) % 500));
  using loop = new DecodeLoop(decoder, { rows: 4, positions: 8192 });
  let passes = 0;
  const shortOnes: { at: number; texts: Text[]; tokens: number[] }[] = [];
  const prefill = Batch.prototype.prefill;
  const counted = spyOn(Batch.prototype, "prefill").mockImplementation(async function (this: Batch, ...args) {
    const at = ++passes;
    // Two at once, and one that writes on, so that pieces become shorter.
    if (at === 2 || at === 9 || at === 14) {
      const texts = (at === 9 ? [1, 2] : [1]).map((of) => text(loop, of, at === 14 ? 10 : 1, { owner: `${at} ${of}` }));
      shortOnes.push({ at, texts, tokens: [] });
    }
    return await prefill.apply(this, args);
  });
  const take = SampledSequence.prototype.take;
  const taken = spyOn(SampledSequence.prototype, "take").mockImplementation(function (this: SampledSequence, rows) {
    shortOnes.at(-1)?.tokens.push(passes);
    return take.call(this, rows);
  });
  const writing = text(loop, 0, 4, { prompt: long, context: 4096 });
  await writing.end;
  for (const { at, texts, tokens } of shortOnes) {
    await Promise.all(texts.map(({ end }) => end));
    expect(tokens.slice(0, texts.length)).toEqual(texts.map(() => at + texts.length));
    expect(texts[0]?.made.tokens[0]).toBe(greedy[1]?.[0]);
  }
  expect(shortOnes).toHaveLength(3);
  for (const one of [counted, taken]) one.mockRestore();
  using alone = new DecodeLoop(decoder, { rows: 4, positions: 8192 });
  const again = text(alone, 0, 4, { prompt: long, context: 4096 });
  await again.end;
  expect(writing.made).toEqual(again.made);
});

test("probabilities of a prompt are told once for each token, where a pass that failed lost some of what was computed", async () => {
  const prompt = Array.from({ length: 600 }, (_, at) => 3 + ((at * 37) % 500));
  const options = { sampling: GREEDY, maxTokens: 0, stopTokens: new Set<number>(), context: 1024, promptTop: 1 };
  const probabilities = async (): Promise<readonly unknown[]> => {
    using loop = new DecodeLoop(decoder, { rows: 1, positions: 1024 });
    const told: unknown[] = [];
    const items = loop.write(new SampledSequence({ ...options, prompt }));
    await endOf(items, (item) => void (item.kind === "prompt" && told.push(...item.logits)));
    return told;
  };
  const alone = await probabilities();
  const prefill = Batch.prototype.prefill;
  let passes = 0;
  const failing = spyOn(Batch.prototype, "prefill").mockImplementation(async function (this: Batch, slot, ...args) {
    if (++passes !== 2) return await prefill.call(this, slot, ...args);
    // As where layers keep states, which can be cut at few places.
    slot.truncate(100);
    throw new RandloraError("memory", "no room");
  });
  const again = await probabilities();
  failing.mockRestore();
  expect([alone.length, passes > 2]).toEqual([prompt.length - 1, true]);
  expect(again).toEqual(alone);
});

test("a long prompt has a piece of each turn, however many short ones come", async () => {
  using loop = new DecodeLoop(decoder, { rows: 3, positions: 8192 });
  const prompt = Array.from({ length: 600 }, (_, at) => 3 + ((at * 37) % 500));
  const writing = text(loop, 0, 1, { prompt, context: 4096 });
  let answers = 0;
  const ask = async (client: number): Promise<void> => {
    for (; writing.made.tokens.length === 0; answers++) await text(loop, 1, 1, { owner: `${client} ${answers}` }).end;
  };
  await Promise.all([ask(0), ask(1)]);
  // Two rows are another's in each turn, and a piece has 32 tokens at least.
  expect(answers).toBeLessThanOrEqual(2 * (600 / 32 + 2));
});

test("where positions are too few for all, who began last gives way, begins again, and writes what he would alone", async () => {
  const hot = { ...DEFAULT_SAMPLING, temperature: 1.5, seed: 3 };
  // Prompts of about 500 tokens, which take two blocks; each text needs a third one.
  const long = [0, 1, 2].map((at) => Array.from({ length: 490 }, (_, n) => 3 + ((n * 37 + at * 101) % 500)));
  const write = async (loop: DecodeLoop, together: boolean) => {
    const all: Text[] = [];
    for (const [at, prompt] of long.entries()) {
      const sampling = at === 1 ? hot : GREEDY;
      all.push(text(loop, 0, 300, { prompt, context: 1024, owner: `${at}`, sampling }));
      if (!together) await all.at(-1)?.end;
    }
    const searched = endOf(
      loop.write(
        new BeamSequence({ prompt: long[0] ?? [], beams: 2, maxTokens: 40, stopTokens: new Set(), context: 1024 }),
      ),
    );
    return { ends: await Promise.all(all.map(({ end }) => end)), tokens: tokensOf(all), best: await searched };
  };
  using wide = new DecodeLoop(decoder, { rows: 5, positions: 16_384 });
  const alone = await write(wide, false);
  expect(alone.ends).toEqual(["length", "length", "length"]);
  using narrow = new DecodeLoop(decoder, { rows: 5, positions: 1792 });
  const ended = spyOn(SampledSequence.prototype, "prompted");
  expect(await write(narrow, true)).toEqual(alone);
  // Some have begun more than once.
  expect(ended.mock.calls.length).toBeGreaterThan(3);
  ended.mockRestore();
  const tooLong = text(narrow, 0, 2000, { context: 4096 });
  expect(await tooLong.end).toMatchObject({ code: "data", message: expect.stringContaining(": 1792 fit") });
  // One of which nobody knows how long it becomes ends when there is no room for more, and the others go on.
  const endless = text(narrow, 0, Infinity, { context: 4096 });
  const other = text(narrow, 1, 60);
  expect([await endless.end, await other.end]).toEqual([expect.objectContaining({ code: "data" }), "length"]);
  expect(other.made.tokens).toEqual(wanted(1, 60));
});
