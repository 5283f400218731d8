import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { generateBatch } from "./batch.ts";
import { bestOf, logitsAfter } from "../../models/testing/logits.ts";

/** The best token and the next one are said to be near where their logits differ by less. */
const NEAR = 0.02;
const TOKENS = 60;

let gpu: Device;
let decoders: { readonly F32: Decoder; readonly F16: Decoder };
/** Heads of 8 elements, which are no blocks; heads of 32. */
const WIDER = join(import.meta.dir, "../../../fixtures/embedded/model");
beforeAll(async () => {
  gpu = await openTestDevice();
  decoders = { F32: await loadDecoder(gpu, STORIES), F16: await loadDecoder(gpu, STORIES, { kvDtype: "F16" }) };
}, 120_000);
afterAll(() => gpu.close());

async function written(decoder: Decoder, prompts: readonly (readonly number[])[], beams = 1) {
  const found: (readonly number[])[] = [];
  const options = { maxTokens: TOKENS, stopTokens: new Set<number>(), beams };
  await generateBatch(decoder, prompts, options, ({ index, tokens }) => void (found[index] = tokens));
  return found;
}

/** Compares the texts of two decoders after some prompts. @returns how many are the same; the others are so up to a near tie */
async function agreed(exact: Decoder, other: Decoder, prompts: readonly (readonly number[])[], near: number) {
  let same = 0;
  const found = await written(other, prompts);
  for (const [nth, wanted] of (await written(exact, prompts)).entries()) {
    const at = wanted.findIndex((token, index) => token !== found[nth]?.[index]);
    if (at < 0) {
      same++;
      continue;
    }
    const before = [...(prompts[nth] ?? []), ...wanted.slice(0, at)];
    const { logits } = bestOf(await logitsAfter(exact, before), 2);
    expect((logits[0] ?? NaN) - (logits[1] ?? NaN)).toBeLessThan(near);
  }
  return same;
}

async function cacheBytes(decoder: Decoder): Promise<number> {
  using cache = decoder.createCache();
  await cache.reserve(1000);
  return cache.bytes;
}

test("texts with keys and values in F16 are those in F32, up to the first near tie, in half the memory", async () => {
  const prompts = (await expectedStories()).map(({ ids }) => ids);
  expect(await agreed(decoders.F32, decoders.F16, prompts, NEAR)).toBeGreaterThan(0);
  expect(await cacheBytes(decoders.F32)).toBe(2 * (await cacheBytes(decoders.F16)));
}, 120_000);

test("texts with keys and values in blocks are those in F32, up to the first near tie, in 34 of 128 bytes", async () => {
  using exact = await loadDecoder(gpu, WIDER);
  using blocks = await loadDecoder(gpu, WIDER, { kvDtype: "Q8_ROWS" });
  const prompts = [20, 400, 75, 130].map((length, nth) =>
    Array.from({ length }, (_, at) => 3 + ((at * at + nth * 37) % 500)),
  );
  expect(await agreed(exact, blocks, prompts, 10 * NEAR)).toBeGreaterThan(0);
  // Two kv heads of 32: 64 bytes, two scales, and whole 16 bytes.
  expect((await cacheBytes(exact)) / (await cacheBytes(blocks))).toBe(256 / 80);
  // Beams change places, their keys with them.
  expect(await written(blocks, prompts.slice(0, 1), 3)).toEqual(await written(exact, prompts.slice(0, 1), 3));
  const refused: unknown = await loadDecoder(gpu, STORIES, { kvDtype: "Q8_ROWS" }).catch((error: unknown) => error);
  expect(String(refused)).toContain("heads have 8 elements, which are no whole blocks of 32");
}, 120_000);

test("beams, whose keys change places, and a chat's cache, which grows and goes back, hold what they held", async () => {
  const [{ ids: prompt }] = await expectedStories();
  expect(await written(decoders.F16, [prompt], 3)).toEqual(await written(decoders.F32, [prompt], 3));
  const { F16: decoder } = decoders;
  const long = Array.from({ length: 700 }, (_, at) => 3 + ((at * 37) % 500));
  const after = async (...parts: (readonly number[])[]) => {
    using cache = decoder.createCache();
    let logits = new Float32Array();
    for (const part of parts) logits = await logitsAfter(decoder, part, cache);
    return logits;
  };
  // Blocks of the same lengths, in a cache that grows, and in one that was larger at first.
  const wanted = await after(long.slice(0, 512), long.slice(512));
  using cache = decoder.createCache();
  await cache.reserve(4000);
  await logitsAfter(decoder, long.slice(0, 512), cache);
  expect(await logitsAfter(decoder, long.slice(512), cache)).toEqual(wanted);
}, 120_000);
