import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { expectedStories, STORIES } from "../../fixtures/stories/storyteller.ts";
import { Gpu } from "../gpu/gpu.ts";
import { Decoder } from "../models/decoder.ts";
import { type BatchAnswer, type BatchOptions, generateBatch } from "./batch.ts";
import { generate } from "./generate.ts";
import { DEFAULT_SAMPLING, type SamplingOptions } from "./sampling.ts";

setDefaultTimeout(120_000);

let gpu: Gpu;
let decoder: Decoder;
let prompts: number[][];
let greedy: number[][];
beforeAll(async () => {
  gpu = await Gpu.open();
  decoder = await Decoder.load(gpu, STORIES);
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

async function alone(ids: readonly number[], sampling: SamplingOptions, maxTokens: number): Promise<number[]> {
  using cache = decoder.createCache();
  const tokens: number[] = [];
  for await (const token of generate(decoder, cache, ids, { sampling, maxTokens, stopTokens: NEVER })) {
    tokens.push(token);
  }
  return tokens;
}

test.each([1, 2, 3, 8])("greedy texts are transformers', %d at a time", async (batchSize) => {
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

test("sampled texts are those that each would be alone", async () => {
  const sampling = { ...DEFAULT_SAMPLING, temperature: 1.2, seed: 7 };
  const answers = await all(prompts, { sampling });
  for (const [index, { tokens }] of answers.entries()) {
    expect(tokens).toEqual(await alone(prompts[index] ?? [], sampling, 20));
  }
});
