import { afterAll, beforeAll, expect, test } from "bun:test";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { perplexity, type PerplexityOptions, windows, windowSize } from "./perplexity.ts";

let gpu: Device;
let decoder: Decoder;
beforeAll(async () => {
  gpu = await openTestDevice();
  decoder = await loadDecoder(gpu, STORIES);
}, 120_000);
afterAll(() => gpu.close());

function measured(ids: readonly number[], size: number, options: PerplexityOptions = {}) {
  return perplexity(decoder, windows(ids, size), options);
}

test.each([
  [
    [1, 2, 3, 4, 5],
    2,
    [
      [1, 2],
      [3, 4],
    ],
  ],
  [[1, 2, 3, 4], 3, [[1, 2, 3]]],
  [
    [1, 2, 3, 4, 5],
    3,
    [
      [1, 2, 3],
      [4, 5],
    ],
  ],
  [[1, 2], 9, [[1, 2]]],
  [[1], 9, []],
  [[], 9, []],
])("%j in windows of %d", (ids, size, wanted) => {
  expect(windows(ids, size)).toEqual(wanted);
});

test("windows after the first begin with what the tokenizer begins texts with, in place of a token that is not predicted", () => {
  expect(windows([0, 1, 2, 3, 4, 5, 6], 3, 0)).toEqual([
    [0, 1, 2],
    [0, 4, 5],
  ]);
});

test("a text is the mean over the predicted tokens of its windows", async () => {
  const texts = await expectedStories();
  for (const { ids, nll } of texts) {
    const found = await measured(ids, 512);
    expect(found.tokens).toBe(ids.length - 1);
    expect(Math.abs(found.nll - nll)).toBeLessThan(1e-4 * nll);
    expect(found.perplexity).toBeCloseTo(Math.exp(found.nll), 10);
  }
  // Equal windows one after the other: the same mean, and progress adds up to all tokens.
  const [{ ids, nll }] = texts;
  const counted: number[] = [];
  const twice = await measured([...ids, ...ids, 7], ids.length, { onTokens: (tokens) => counted.push(tokens) });
  expect(twice.tokens).toBe(2 * (ids.length - 1));
  expect(Math.abs(twice.nll - nll)).toBeLessThan(1e-4 * nll);
  expect(counted).toEqual([ids.length, ids.length]);
  // The stories begin with BOS; the second window begins with it, whatever stands there.
  const begun = await perplexity(decoder, windows([...ids, 9, ...ids.slice(1)], ids.length, ids[0]));
  expect([begun.tokens, begun.nll]).toEqual([twice.tokens, twice.nll]);
});

test("windows end at the model's context, unless RoPE is scaled", () => {
  const { config } = decoder;
  expect(windowSize(config, undefined)).toBe(512);
  expect(windowSize({ ...config, contextLength: 8192 }, undefined)).toBe(1024);
  expect(() => windowSize(config, 513)).toThrow("the model's context is 512 tokens");
  expect(() => windowSize(config, 1)).toThrow("at least 2 tokens");
  const ropes = [{ theta: 1e4, size: 8, scaling: { kind: "linear", factor: 2 } as const }];
  expect(windowSize({ ...config, ropes }, 513)).toBe(513);
});

test("a text without anything to predict is refused", async () => {
  await expect(measured([1], 512)).rejects.toMatchObject({ code: "data" });
});
