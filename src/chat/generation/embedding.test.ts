import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { decode, loadStories, type Made } from "../testing/decoder.ts";
import { DecodeLoop } from "./decode-loop.ts";
import { EmbeddingSequence, normalized, type Pooling } from "./embedding.ts";
import { endOf } from "./sequence.ts";

setDefaultTimeout(60_000);

let gpu: Device;
let decoder: Decoder;
beforeAll(async () => {
  ({ gpu, decoder } = await loadStories());
});
afterAll(() => gpu.close());

const idsOf = (count: number): number[] => Array.from({ length: count }, (_, at) => 3 + ((at * 37) % 400));

const embed = (loop: DecodeLoop, ids: readonly number[], pooling: Pooling = "mean", signal?: AbortSignal) =>
  endOf(loop.write(new EmbeddingSequence(decoder, ids, { pooling, context: 2048, signal })));

/** The last hidden state after each beginning of a text, by passes of their own. */
async function statesOf(ids: readonly number[]): Promise<Float64Array[]> {
  const states: Float64Array[] = [];
  using cache = decoder.createCache();
  for (const id of ids) {
    const kept: Tensor[] = [];
    await decoder.passes(cache, [id], {}, (run, hidden) => kept.push(run.keep(hidden)));
    for (const hidden of kept) {
      states.push(Float64Array.from(await readRows(gpu, hidden, 0, 1)));
      gpu.memory.release(hidden.buffer);
    }
  }
  return states;
}

test("the mean of hidden states, or the last one", async () => {
  using loop = new DecodeLoop(decoder, { rows: 2, positions: 1024 });
  const ids = idsOf(9);
  const states = await statesOf(ids);
  const mean = states[0]?.map((_, at) => states.reduce((sum, state) => sum + (state[at] ?? NaN), 0) / ids.length);
  for (const [pooling, wanted = new Float64Array()] of [
    ["mean", mean],
    ["last", states.at(-1)],
  ] as const) {
    const found = await embed(loop, ids, pooling);
    expect(found.length).toBe(decoder.config.hiddenSize);
    const largest = Math.max(...wanted.map(Math.abs));
    expect(Math.max(...found.map((value, at) => Math.abs(value - (wanted[at] ?? NaN))))).toBeLessThan(1e-5 * largest);
  }
});

test("is read in pieces beside what is written, which does not show, and leaves nothing in the cache", async () => {
  using loop = new DecodeLoop(decoder, { rows: 2, positions: 4096 });
  const long = idsOf(400);
  const alone = await embed(loop, long);
  const made: Made = { tokens: [], cached: NaN };
  const written = decode(loop, { prompt: [9, 8, 7], maxTokens: 40 }, made);
  while (made.tokens.length === 0) await loop.advance();
  const before = made.tokens.length;
  expect(await embed(loop, long)).toEqual(alone);
  expect(made.tokens.length).toBeGreaterThan(before + 1);
  await written;
  const left = new AbortController();
  const longer = idsOf(900);
  const leaving = embed(loop, longer, "mean", left.signal).catch((thrown: unknown) => thrown);
  while (loop.size > 0 && (loop.progress[0]?.computed ?? 0) === 0) await loop.advance();
  left.abort(new Error("gone"));
  expect(await leaving).toMatchObject({ message: "gone" });
  // It begins with the other one.
  const { cached } = await decode(loop, { prompt: longer, maxTokens: 1, context: 2048 });
  expect(cached).toBe(0);
});

test("tokens whose states come again, after a pass that failed, count once", async () => {
  const size = decoder.config.hiddenSize;
  const states = Float32Array.from({ length: 6 * size }, (_, at) => Math.sin(at));
  const found = [
    [[0, 6]],
    [
      [0, 4],
      [2, 5],
      [5, 6],
    ],
    [
      [0, 3],
      [0, 2],
      [2, 6],
    ],
  ].map(async (passes) => {
    const sequence = new EmbeddingSequence(decoder, idsOf(6), { pooling: "mean", context: 512 });
    for (const [first = 0, end] of passes) sequence.takeHidden(first, states.subarray(first * size, (end ?? 0) * size));
    sequence.prompted();
    return await endOf(sequence.out.taken(async () => {}));
  });
  const [whole, ...others] = await Promise.all(found);
  for (const one of others) expect(one).toEqual(whole ?? new Float64Array());
});

test("has norm 1, or is refused where it has no direction", () => {
  expect(normalized(Float64Array.of(3, -4))).toEqual(Float64Array.of(0.6, -0.8));
  for (const value of [0, NaN, Infinity]) {
    expect(() => normalized(Float64Array.of(value, 0))).toThrow(expect.objectContaining({ code: "numeric" }));
  }
});
