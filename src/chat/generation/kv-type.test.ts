import { afterAll, beforeAll, expect, test } from "bun:test";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Decoder } from "../../models/decoder/decoder.ts";
import { generateBatch } from "./batch.ts";

/** The best token and the next one are said to be near where their logits differ by less. */
const NEAR = 0.02;
const TOKENS = 60;

let gpu: Device;
let decoders: { readonly F32: Decoder; readonly F16: Decoder };
beforeAll(async () => {
  gpu = await openTestDevice();
  decoders = { F32: await Decoder.load(gpu, STORIES), F16: await Decoder.load(gpu, STORIES, { kvDtype: "F16" }) };
}, 120_000);
afterAll(() => gpu.close());

async function written(decoder: Decoder, prompt: readonly number[], beams: number): Promise<readonly number[]> {
  let found: readonly number[] = [];
  const options = { maxTokens: TOKENS, stopTokens: new Set<number>(), beams };
  await generateBatch(decoder, [prompt], options, ({ tokens }) => void (found = tokens));
  return found;
}

test("texts with keys and values in F16 are those in F32, up to the first near tie, in half the memory", async () => {
  let agreed = 0;
  for (const { ids: prompt } of await expectedStories()) {
    const [wanted, found] = [await written(decoders.F32, prompt, 1), await written(decoders.F16, prompt, 1)];
    const at = wanted.findIndex((token, index) => token !== found[index]);
    if (at < 0) {
      agreed++;
      continue;
    }
    using cache = decoders.F32.createCache();
    const hidden = await decoders.F32.prefill(cache, [...prompt, ...wanted.slice(0, at)]);
    const { logits } = await decoders.F32.top(hidden, 2);
    gpu.memory.release(hidden.buffer);
    expect((logits[0] ?? NaN) - (logits[1] ?? NaN)).toBeLessThan(NEAR);
  }
  expect(agreed).toBeGreaterThan(0);
  const bytes = Object.values(decoders).map((decoder) => {
    using cache = decoder.createCache();
    cache.reserve(1000);
    return cache.bytes;
  });
  expect(bytes[0]).toBe(2 * (bytes[1] ?? NaN));
}, 120_000);

test("beams, whose keys change places, and a chat's cache, which grows and goes back, hold what they held", async () => {
  const [{ ids: prompt }] = await expectedStories();
  expect(await written(decoders.F16, prompt, 3)).toEqual(await written(decoders.F32, prompt, 3));
  const { F16: decoder } = decoders;
  const long = Array.from({ length: 700 }, (_, at) => 3 + ((at * 37) % 500));
  const after = async (...parts: (readonly number[])[]) => {
    using cache = decoder.createCache();
    let logits = new Float32Array();
    for (const part of parts) {
      const hidden = await decoder.prefill(cache, part);
      logits = await decoder.logits(hidden);
      gpu.memory.release(hidden.buffer);
    }
    return logits;
  };
  // Blocks of the same lengths, in a cache that grows, and in one that was larger at first.
  const wanted = await after(long.slice(0, 512), long.slice(512));
  using cache = decoder.createCache();
  cache.reserve(4000);
  for (const part of [long.slice(0, 512), long.slice(512)]) {
    const hidden = await decoder.prefill(cache, part);
    if (part.length < 512) expect(await decoder.logits(hidden)).toEqual(wanted);
    gpu.memory.release(hidden.buffer);
  }
}, 120_000);
