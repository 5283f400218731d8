// Crowds of short prompts: how many are read in one pass, and what that costs others.
import { expect, setDefaultTimeout, spyOn, test } from "bun:test";
import { itemAt } from "../../files/item-at.ts";
import { Batch } from "../../models/decoder/cache/batch.ts";
import { StoryTexts, type Text, tokensOf } from "../testing/story-texts.ts";
import { DecodeLoop } from "./decode-loop.ts";
import { FEW, LEAST, Pace } from "./prompt-pieces.ts";
import { SlotAllocation } from "./slot-allocation.ts";

setDefaultTimeout(120_000);

const stories = StoryTexts.forTests();
const text = (...args: Parameters<StoryTexts["text"]>) => stories.text(...args);

/** Prompts of so many tokens, which have nothing in common. */
const promptsOf = (count: number, tokens: number): number[][] =>
  Array.from({ length: count }, (_, which) =>
    Array.from({ length: tokens }, (_, at) => 3 + ((at * 37 + which * 101) % 500)),
  );

/** Tokens of prompts in each pass that has any, by prompt. */
function watchPieces(): { readonly passes: number[][] } & Disposable {
  const passes: number[][] = [];
  const { pass } = Batch.prototype;
  const watched = spyOn(Batch.prototype, "pass").mockImplementation(async function (this: Batch, ...args) {
    const [, ...pieces] = args;
    if (pieces.length > 0) passes.push(pieces.map(({ ids }) => ids.length));
    return await pass.apply(this, args);
  });
  return { passes, [Symbol.dispose]: () => watched.mockRestore() };
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0);

/** Has a loop write a token behind each of these at once. */
async function writeAll(loop: DecodeLoop, prompts: readonly number[][], tokens = 1): Promise<readonly Text[]> {
  const texts = prompts.map((prompt) => text(loop, 0, tokens, { prompt }));
  await Promise.all(texts.map(({ end }) => end));
  return texts;
}

test.each([false, true])("a crowd of short prompts is one pass, prompts first: %p", async (promptsFirst) => {
  const prompts = promptsOf(8, 12);
  const alone: number[][] = [];
  for (const prompt of prompts) {
    using loop = new DecodeLoop(stories.decoder, { rows: 16, positions: 8192 });
    alone.push(...tokensOf(await writeAll(loop, [prompt], 5)));
  }
  using loop = new DecodeLoop(stories.decoder, { rows: 16, positions: 8192, promptsFirst });
  using watched = watchPieces();
  expect(tokensOf(await writeAll(loop, prompts, 5))).toEqual(alone);
  expect(watched.passes).toEqual([prompts.map(() => 11)]);
});

test("while a text is written, a pass has no more tokens of a crowd than of one prompt", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 16, positions: 8192 });
  using _ = spyOn(Pace.prototype, "piece").mockImplementation((isWaitedFor) => (isWaitedFor ? 2 * LEAST : 192));
  const writing = text(loop, 0, 200);
  while (writing.made.tokens.length === 0) await loop.advance();
  using watched = watchPieces();
  const before = writing.made.tokens.length;
  await writeAll(loop, promptsOf(12, 10));
  const written = writing.made.tokens.length - before;
  expect(sumOf(watched.passes.flat())).toBe(12 * 9);
  // Three of nine tokens each fit.
  expect(Math.max(...watched.passes.map(sumOf))).toBeLessThanOrEqual(2 * LEAST + FEW);
  expect(watched.passes.length).toBeLessThanOrEqual(4);
  // And its tokens come between them.
  expect(written).toBeGreaterThanOrEqual(watched.passes.length - 1);
  await writing.end;
});

test("one that others hold all of is read by no pass, and what follows on it comes with the next step", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 4, positions: 4096 });
  const [prompt = []] = promptsOf(1, 30);
  using watched = watchPieces();
  const one = text(loop, 0, 6, { prompt });
  while (one.made.tokens.length === 0) await loop.advance();
  const others = await writeAll(loop, [prompt, [...prompt]], 3);
  await one.end;
  expect(watched.passes).toEqual([[29]]);
  expect(others.map(({ made }) => made)).toEqual(
    others.map(() => ({ cached: 29, tokens: one.made.tokens.slice(0, 3) })),
  );
});

test("what each could have of others is looked for once a turn, however many are read in it", async () => {
  using loop = new DecodeLoop(stories.decoder, { rows: 16, positions: 16_384 });
  using share = spyOn(SlotAllocation.prototype, "share");
  // Long ones before short ones.
  const prompts = [...promptsOf(6, 300), ...promptsOf(10, 6)];
  const ended = writeAll(loop, prompts);
  const calls: number[] = [];
  while (loop.size > 0 || calls.length === 0) {
    const { length } = share.mock.calls;
    await loop.advance();
    calls.push(share.mock.calls.length - length);
  }
  await ended;
  share.mockRestore();
  // When they begin, when they are looked at, and when they are read.
  expect(Math.max(...calls)).toBeLessThanOrEqual(3 * prompts.length);
  expect(itemAt(calls, 0)).toBeGreaterThan(0);
});
