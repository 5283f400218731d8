import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { type BatchAnswer, type BatchOptions, generateBatch } from "./batch.ts";
import { decode } from "../testing/decoder.ts";
import { DecodeLoop } from "./decode-loop.ts";
import { DEFAULT_SAMPLING, type SamplingOptions } from "./sampling.ts";

setDefaultTimeout(120_000);

let gpu: Device;
let decoder: Decoder;
let prompts: number[][];
let greedy: number[][];
beforeAll(async () => {
  gpu = await openTestDevice();
  decoder = await loadDecoder(gpu, STORIES);
  const stories = await expectedStories();
  prompts = stories.map(({ ids }) => ids);
  greedy = stories.map(({ greedy_ids: ids }) => ids);
});
afterAll(() => gpu.close());

const NEVER: ReadonlySet<number> = new Set();

async function all(asked: readonly (readonly number[])[], options: Partial<BatchOptions> = {}): Promise<BatchAnswer[]> {
  const answers: BatchAnswer[] = [];
  const before = gpu.memory.liveBytes;
  await generateBatch(decoder, asked, { maxTokens: 20, stopTokens: NEVER, ...options }, (answer) => {
    answers.push(answer);
  });
  expect(gpu.memory.liveBytes).toBe(before);
  return answers.toSorted((left, right) => left.index - right.index);
}

async function alone(prompt: readonly number[], sampling: SamplingOptions): Promise<number[]> {
  using loop = new DecodeLoop(decoder, { rows: 1, positions: 512 });
  return (await decode(loop, { prompt, sampling })).tokens;
}

test.each([1, 3, 8])("greedy texts are transformers', %d at a time", async (batchSize) => {
  const asked = [...prompts, ...prompts];
  const answers = await all(asked, { batchSize });
  expect(answers).toEqual(
    asked.map((_, index) => ({
      index,
      tokens: greedy[index % greedy.length]?.slice(0, 20) ?? [],
      finishReason: "length",
      score: undefined,
    })),
  );
});

test("sampled texts are those that each would be alone, each with a seed of its own", async () => {
  const sampling = { ...DEFAULT_SAMPLING, temperature: 1.2, seed: 7 };
  const answers = await all(prompts, { sampling });
  for (const [index, { tokens }] of answers.entries()) {
    expect(tokens).toEqual(await alone(prompts[index] ?? [], { ...sampling, seed: sampling.seed + index }));
  }
});

test.each([2, 5])("beams do not depend on who is searched beside them, %d at a time", async (batchSize) => {
  const asked = [...prompts, [5], ...prompts.map((ids) => ids.slice(0, 3))];
  const fullStop = 266;
  const options = { beams: 3, batchSize, maxTokens: 12, stopTokens: new Set([fullStop]) };
  const together = await all(asked, options);
  const backwards = await all(asked.toReversed(), options);
  expect(backwards.map(({ tokens, score }) => ({ tokens, score })).toReversed()).toEqual(
    together.map(({ tokens, score }) => ({ tokens, score })),
  );
  for (const [index, ids] of asked.entries()) {
    const [alone] = await all([ids], options);
    expect(alone).toEqual({ ...(together[index] ?? { tokens: [], finishReason: "stop", score: 0 }), index: 0 });
  }
  expect(new Set(together.map(({ finishReason }) => finishReason)).size).toBe(2);
});

test("a beam search finds no worse text than greedy search does", async () => {
  const [searched, alone] = [await all(prompts, { beams: 4 }), await all(prompts, { beams: 1 })];
  for (const [index, ids] of prompts.entries()) {
    const mean = async ({ tokens }: BatchAnswer): Promise<number> => {
      using cache = decoder.createCache();
      const nll = await decoder.nll(cache, [...ids, ...tokens]);
      return -nll.slice(ids.length - 1).reduce((sum, value) => sum + value, 0) / tokens.length;
    };
    const [best, plain] = [searched[index], alone[index]];
    if (best === undefined || plain === undefined) throw new Error("an answer is missing");
    expect(best.score).toBeCloseTo(await mean(best), 3);
    expect(best.score).toBeGreaterThan((await mean(plain)) - 1e-3);
  }
});

test("answers end with a stop token, with the context, or with enough tokens, and come as they end", async () => {
  const [ids = []] = prompts;
  const stop = greedy[0]?.[9] ?? NaN;
  const asked = [ids, ids.slice(0, 2)];
  const stopTokens = new Set([stop]);
  const order: BatchAnswer[] = [];
  await generateBatch(decoder, asked, { maxTokens: 40, stopTokens }, (answer) => void order.push(answer));
  expect(order.find(({ index }) => index === 0)).toMatchObject({ finishReason: "stop" });
  expect(order.find(({ index }) => index === 0)?.tokens).toEqual(greedy[0]?.slice(0, greedy[0].indexOf(stop)) ?? []);
  const [short] = await all([ids], { context: ids.length + 4, maxTokens: 40 });
  expect([short?.tokens.length, short?.finishReason]).toEqual([4, "length"]);
});

test("what makes no sense is refused before anything is computed", async () => {
  const [ids = []] = prompts;
  await expect(all([ids, []])).rejects.toMatchObject({ code: "data", message: "the prompt has no tokens" });
  await expect(all([ids], { context: ids.length })).rejects.toMatchObject({ code: "data" });
  await expect(all([[100_000]])).rejects.toMatchObject({ code: "model" });
  await expect(all([ids], { beams: 0 })).rejects.toMatchObject({ code: "usage" });
  await expect(all([ids], { beams: 257 })).rejects.toMatchObject({ code: "usage", hint: "take at most 256" });
  await expect(all([ids], { maxTokens: 1.5 })).rejects.toMatchObject({ code: "usage" });
  expect(await all([])).toEqual([]);
});

test("a batch can be left at any answer, and leaves nothing behind", async () => {
  const before = gpu.memory.liveBytes;
  const stop = new AbortController();
  const asked = Array.from({ length: 12 }, (_, at) => prompts[at % prompts.length] ?? []);
  let count = 0;
  const options = { maxTokens: 5, stopTokens: NEVER, batchSize: 3, signal: stop.signal };
  const running = generateBatch(decoder, asked, options, () => {
    count += 1;
    if (count === 4) stop.abort(new Error("enough"));
  });
  await expect(running).rejects.toThrow("enough");
  expect(count).toBeLessThan(12);
  const failing = generateBatch(decoder, asked, { ...options, signal: undefined }, () => {
    throw new Error("no room on the disk");
  });
  await expect(failing).rejects.toThrow("no room on the disk");
  expect(gpu.memory.liveBytes).toBe(before);
});
