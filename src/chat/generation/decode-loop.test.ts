import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Decoder } from "../../models/decoder/decoder.ts";
import { DEFAULT_SAMPLING } from "./sampling.ts";
import { SampledSequence, BeamSequence } from "./sequence.ts";
import { DecodeLoop } from "./decode-loop.ts";

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

interface Text {
  readonly sequence: SampledSequence;
  readonly tokens: number[];
  /** Of its prompt's tokens, computed for others; undefined while it is computed. */
  cached: number | undefined;
  end: unknown;
}

function text(
  at: number,
  maxTokens: number,
  { signal, onToken }: { signal?: AbortSignal; onToken?: (made: number) => void } = {},
): Text {
  const tokens: number[] = [];
  const made: Text = {
    tokens,
    cached: undefined,
    end: undefined,
    sequence: new SampledSequence({
      prompt: prompts[at] ?? [],
      sampling: { ...DEFAULT_SAMPLING, temperature: 0 },
      maxTokens,
      stopTokens: new Set(),
      context: 512,
      signal,
      onToken(token) {
        tokens.push(token);
        onToken?.(tokens.length);
        return false;
      },
      onPrompted: (cached) => void (made.cached = cached),
      onEnd: (reason) => void (made.end = reason),
      onFail: (reason) => void (made.end = reason),
    }),
  };
  return made;
}

const wanted = (at: number, count: number): number[] => greedy[at]?.slice(0, count) ?? [];

async function finish(loop: DecodeLoop): Promise<void> {
  while (loop.size > 0) await loop.turn();
}

test("a text begins when there is a row for it, and positions are promised to no more than there are", async () => {
  // Two slots of one block each, though there are rows for three.
  using loop = new DecodeLoop(decoder, { rows: 3, positions: 512 });
  const [one, two, three] = [text(0, 10), text(1, 20), text(2, 8)];
  expect([await loop.begin(one.sequence), await loop.begin(two.sequence)]).toEqual([true, true]);
  expect(await loop.begin(three.sequence)).toBeFalse();
  while (one.end === undefined) await loop.turn();
  expect(await loop.begin(three.sequence)).toBeTrue();
  await finish(loop);
  // All begin with the same token.
  expect([one.cached, two.cached, three.cached]).toEqual([0, 1, 1]);
  expect([one.tokens, two.tokens, three.tokens]).toEqual([wanted(0, 10), wanted(1, 20), wanted(2, 8)]);
  using narrow = new DecodeLoop(decoder, { rows: 4, positions: 4096 });
  const beams = (count: number) =>
    new BeamSequence({
      prompt: [5, 6],
      beams: count,
      maxTokens: 3,
      stopTokens: new Set(),
      context: 512,
      onEnd: () => {},
      onFail: () => {},
    });
  expect([await narrow.begin(beams(3)), await narrow.begin(beams(2)), await narrow.begin(text(0, 1).sequence)]).toEqual(
    [true, false, true],
  );
});

test("what fails, or is left, is alone in that", async () => {
  using loop = new DecodeLoop(decoder, { rows: 4, positions: 2048 });
  const left = new AbortController();
  const failing = text(0, 20, {
    onToken(made) {
      if (made === 4) throw new Error("no room on the disk");
    },
  });
  const leaving = text(1, 20, { signal: left.signal, onToken: (made) => made === 6 && left.abort(new Error("gone")) });
  const [one, two] = [text(2, 20), text(0, 20)];
  for (const { sequence } of [failing, leaving, one, two]) await loop.begin(sequence);
  await finish(loop);
  expect([failing.end, leaving.end]).toMatchObject([{ message: "no room on the disk" }, { message: "gone" }]);
  expect([failing.tokens.length, leaving.tokens.length]).toEqual([4, 6]);
  expect([one.tokens, two.tokens]).toEqual([wanted(2, 20), wanted(0, 20)]);
  expect([one.end, two.end]).toEqual(["length", "length"]);
});

test("prompts that begin alike are computed once, until weights change", async () => {
  using loop = new DecodeLoop(decoder, { rows: 2, positions: 2048 });
  const length = prompts[0]?.length ?? 0;
  for (const cached of [0, length - 1, length - 1]) {
    const one = text(0, 12);
    await loop.begin(one.sequence);
    // Weights must not change under a text that is being written.
    expect(() => loop.weightsChanged()).toThrow("while texts were written");
    await finish(loop);
    expect([one.cached, one.tokens]).toEqual([cached, wanted(0, 12)]);
  }
  loop.weightsChanged();
  const one = text(0, 12);
  await loop.begin(one.sequence);
  await loop.turn();
  expect(one.cached).toBe(0);
  loop.abort(new Error("stopped"));
  expect([loop.size, one.end]).toMatchObject([0, { message: "stopped" }]);
  // What failed is not kept.
  const other = text(0, 1);
  await loop.begin(other.sequence);
  await finish(loop);
  expect(other.cached).toBe(0);
});

test.each([true, false])("so are those of texts that begin together, prompts first: %p", async (promptsFirst) => {
  using loop = new DecodeLoop(decoder, { rows: 4, positions: 2048 });
  const length = prompts[0]?.length ?? 0;
  const texts = [0, 1, 0, 0].map((at) => text(at, 12));
  for (const { sequence } of texts) await loop.begin(sequence);
  while (loop.size > 0) await loop.turn({ promptsFirst });
  expect(texts.map(({ cached }) => cached)).toEqual([0, 1, length - 1, length - 1]);
  expect(texts.map(({ tokens }) => tokens)).toEqual([0, 1, 0, 0].map((at) => wanted(at, 12)));
});
