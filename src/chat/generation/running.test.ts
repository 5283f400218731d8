// How prompts are read: what is shared, what is kept, and whose piece comes next.
import { expect, setDefaultTimeout, spyOn, test } from "bun:test";
import { RandloraError } from "../../files/errors.ts";
import { itemAt } from "../../files/item-at.ts";
import { Batch } from "../../models/decoder/cache/batch.ts";
import { PROMPT_BLOCK } from "../../models/decoder/cache/layer-cache.ts";
import type { Slot } from "../../models/decoder/cache/slot.ts";
import { SlotPool } from "../../models/decoder/cache/slot-pool.ts";
import { GREEDY } from "../testing/decoder.ts";
import { StoryTexts, type Text, tokensOf } from "../testing/story-texts.ts";
import { DecodeLoop } from "./decode-loop.ts";
import { endOf } from "./sequence.ts";
import { LEAST } from "./prompt-pieces.ts";
import { SampledSequence } from "./sampled-sequence.ts";

setDefaultTimeout(120_000);

const stories = StoryTexts.forTests();
const wanted = (at: number, count: number) => stories.wanted(at, count);
const text = (...args: Parameters<StoryTexts["text"]>) => stories.text(...args);

test("prompts that begin alike are computed once, until weights change", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 2, positions: 2048 });
  const length = stories.prompts[0]?.length ?? 0;
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
  const length = stories.prompts[0]?.length ?? 0;
  // Of one block the other one's text takes all.
  for (const [positions, again] of [
    [512, length - 1],
    [256, 1],
  ] as const) {
    using loop = new DecodeLoop(stories.decoder, { rows: 2, positions });
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
  using loop = new DecodeLoop(stories.decoder, { rows: 4, positions: 2048, promptsFirst });
  const length = stories.prompts[0]?.length ?? 0;
  const texts = [0, 1, 0, 0].map((at) => text(loop, at, 12));
  await Promise.all(texts.map(({ end }) => end));
  // The second is read beside the first, and could have gone on from one token of it.
  expect(texts.map(({ made }) => made.cached)).toEqual([0, 0, length - 1, length - 1]);
  expect(tokensOf(texts)).toEqual([0, 1, 0, 0].map((at) => wanted(at, 12)));
});

test("one whose prompt is all takes nothing from those that are read with it", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 4, positions: 2048 });
  const texts = [0, 1, 2].map((at) => text(loop, at, at === 0 ? 0 : 12));
  await Promise.all(texts.map(({ end }) => end));
  expect(tokensOf(texts)).toEqual([[], wanted(1, 12), wanted(2, 12)]);
});

test("what was computed for another owner is computed again, while he writes and afterwards", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 4, positions: 4096 });
  const length = stories.prompts[0]?.length ?? 0;
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
  using loop = new DecodeLoop(stories.decoder, { rows: 4, positions: 8192 });
  let passes = 0;
  const shortOnes: { at: number; texts: Text[]; tokens: number[] }[] = [];
  const { pass } = Batch.prototype;
  using counted = spyOn(Batch.prototype, "pass").mockImplementation(async function (this: Batch, ...args) {
    const [, ...pieces] = args;
    if (pieces.length === 0) return await pass.apply(this, args);
    const at = ++passes;
    // Two at once, and one that writes on, so that pieces become shorter.
    if (at === 2 || at === 9 || at === 14) {
      const texts = (at === 9 ? [1, 2] : [1]).map((of) => text(loop, of, at === 14 ? 10 : 1, { owner: `${at} ${of}` }));
      shortOnes.push({ at, texts, tokens: [] });
    }
    return await pass.apply(this, args);
  });
  const take = SampledSequence.prototype.take;
  using taken = spyOn(SampledSequence.prototype, "take").mockImplementation(function (this: SampledSequence, rows) {
    shortOnes.at(-1)?.tokens.push(passes);
    return take.call(this, rows);
  });
  const writing = text(loop, 0, 4, { prompt: long, context: 4096 });
  await writing.end;
  for (const { at, texts, tokens } of shortOnes) {
    await Promise.all(texts.map(({ end }) => end));
    expect(tokens.slice(0, texts.length)).toEqual(texts.map(() => at + 1));
    expect(texts[0]?.made.tokens[0]).toBe(wanted(1, 1)[0]);
  }
  expect(shortOnes).toHaveLength(3);
  for (const one of [counted, taken]) one.mockRestore();
  using alone = new DecodeLoop(stories.decoder, { rows: 4, positions: 8192 });
  const again = text(alone, 0, 4, { prompt: long, context: 4096 });
  await again.end;
  expect(writing.made).toEqual(again.made);
});

/** As a group of layers does that has no room for larger matrices, nor for those that it had. */
function loseRoom(slots: readonly Slot[]): never {
  for (const slot of slots) {
    slot.truncate(0);
    for (const place of slot.places) place.capacity = 0;
  }
  throw new RandloraError("memory", "no room");
}

test("tokens whose keys and values were lost are not said to have been computed before", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 2, positions: 2048 });
  // Something else that is kept, and can give way.
  await text(loop, 0, 1).end;
  const prompt = Array.from({ length: 600 }, (_, at) => 3 + ((at * 37) % 500));
  const ask = (tokens: number) => text(loop, 0, 1, { prompt: prompt.slice(0, tokens), context: 1024 });
  await ask(300).end;
  const { reserve } = SlotPool.prototype;
  let calls = 0;
  using reserved = spyOn(SlotPool.prototype, "reserve").mockImplementation(async function (this: SlotPool, ...args) {
    // The second one makes room for the first piece, behind what was kept.
    return calls++ === 1 ? loseRoom([args[0]]) : await reserve.apply(this, args);
  });
  const asked = ask(600);
  expect([await asked.end, asked.made.cached]).toEqual(["length", 0]);
  reserved.mockRestore();
  expect(calls).toBeGreaterThan(2);
});

test("where what all held is lost with its room, a prompt that is being read waits or another one gives way, and nobody ends", async () => {
  const prompt = (tokens: number) => Array.from({ length: tokens }, (_, at) => 3 + ((at * 37 + tokens) % 500));
  const asked = [
    [20, 2],
    [1200, 4],
    [700, 4],
    [701, 4],
  ] as const;
  const begin = (loop: DecodeLoop) =>
    asked.map(([tokens, count]) => text(loop, 0, count, { prompt: prompt(tokens), context: 2048, owner: `${tokens}` }));
  const ended = async (texts: readonly Text[]) => [await Promise.all(texts.map(({ end }) => end)), tokensOf(texts)];
  using wide = new DecodeLoop(stories.decoder, { rows: 3, positions: 8192 });
  const alone = await ended(begin(wide));
  // The last two are let in behind the first, and find room that the second had.
  using narrow = new DecodeLoop(stories.decoder, { rows: 3, positions: 2304 });
  const { acquire, reserve } = SlotPool.prototype;
  const slots: Slot[] = [];
  using acquired = spyOn(SlotPool.prototype, "acquire").mockImplementation(function (this: SlotPool, ...args) {
    slots.push(acquire.apply(this, args));
    return itemAt(slots, slots.length - 1);
  });
  let failed = 0;
  using reserved = spyOn(SlotPool.prototype, "reserve").mockImplementation(async function (this: SlotPool, ...args) {
    if (args[0] !== slots[2] || failed++ > 0) return await reserve.apply(this, args);
    return loseRoom(slots);
  });
  const together = await ended(begin(narrow));
  for (const one of [acquired, reserved]) one.mockRestore();
  expect(failed).toBeGreaterThan(0);
  expect(together).toEqual(alone);
});

test("probabilities of a prompt are told once for each token, where some of what was computed is lost with a pass, or all with its room", async () => {
  const prompt = Array.from({ length: 600 }, (_, at) => 3 + ((at * 37) % 500));
  const options = { sampling: GREEDY, maxTokens: 0, stopTokens: new Set<number>(), context: 1024, promptTop: 1 };
  const probabilities = async (): Promise<readonly unknown[]> => {
    using loop = new DecodeLoop(stories.decoder, { rows: 1, positions: 2048 });
    // Something that is kept, and can give way.
    await text(loop, 0, 1).end;
    const told: unknown[] = [];
    const items = loop.write(new SampledSequence({ ...options, prompt }));
    await endOf(items, (item) => void (item.kind === "prompt" && told.push(...item.logits)));
    return told;
  };
  const alone = await probabilities();
  const { pass } = Batch.prototype;
  const pieces: number[] = [];
  let losses = 0;
  using failing = spyOn(Batch.prototype, "pass").mockImplementation(async function (this: Batch, ...args) {
    const [, piece] = args;
    if (piece !== undefined) pieces.push(piece.ids.length);
    if (piece === undefined || piece.slot.length === 0 || losses++ > 0) return await pass.apply(this, args);
    // As where layers keep states, which can be cut at few places.
    piece.slot.truncate(100);
    throw new RandloraError("memory", "no room");
  });
  const withPass = await probabilities();
  expect([alone.length, losses > 1]).toEqual([prompt.length - 1, true]);
  expect(withPass).toEqual(alone);

  const { reserve } = SlotPool.prototype;
  let isLost = false;
  using reserved = spyOn(SlotPool.prototype, "reserve").mockImplementation(async function (this: SlotPool, ...args) {
    const [slot] = args;
    if (isLost || slot.length < PROMPT_BLOCK) return await reserve.apply(this, args);
    isLost = true;
    return loseRoom([slot]);
  });
  const withRoom = await probabilities();
  for (const one of [failing, reserved]) one.mockRestore();
  expect(isLost).toBeTrue();
  expect(Math.max(...pieces)).toBeLessThanOrEqual(PROMPT_BLOCK);
  expect(withRoom).toEqual(alone);
});

test("a long prompt has a piece of each turn, however many short ones come", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 3, positions: 8192 });
  const prompt = Array.from({ length: 600 }, (_, at) => 3 + ((at * 37) % 500));
  const writing = text(loop, 0, 1, { prompt, context: 4096 });
  let answers = 0;
  const ask = async (client: number): Promise<void> => {
    for (; writing.made.tokens.length === 0; answers++) await text(loop, 1, 1, { owner: `${client} ${answers}` }).end;
  };
  await Promise.all([ask(0), ask(1)]);
  // Two rows are another's in each turn, and a piece has so many tokens at least.
  expect(answers).toBeLessThanOrEqual(2 * (600 / LEAST + 2));
});
