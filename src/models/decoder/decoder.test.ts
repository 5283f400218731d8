import { afterAll, beforeAll, expect, test } from "bun:test";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { bestOf, logitsAfter } from "../testing/logits.ts";
import type { KvCache } from "./cache/slot-pool.ts";
import type { Decoder } from "./decoder.ts";
import { loadDecoder } from "../folder/load-decoder.ts";

const COMPILE_TIMEOUT = 120_000;

let gpu: Device;
let decoder: Decoder;
let texts: Awaited<ReturnType<typeof expectedStories>>;
beforeAll(async () => {
  gpu = await openTestDevice();
  decoder = await loadDecoder(gpu, STORIES);
  texts = await expectedStories();
}, COMPILE_TIMEOUT);
afterAll(() => gpu.close());

const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / values.length;

test(
  "logits and likelihoods are transformers'",
  async () => {
    expect(texts.length).toBeGreaterThan(0);
    for (const { ids, nll, top_ids: best, top_logits: logits } of texts) {
      const found = await logitsAfter(decoder, ids);
      best.forEach((id, rank) => {
        expect(Math.abs((found[id] ?? NaN) - (logits[rank] ?? NaN))).toBeLessThan(1e-4 * (logits[0] ?? 0));
      });
      expect(bestOf(found, 16).ids).toEqual(best);
      using fresh = decoder.createCache();
      expect(Math.abs(mean(await decoder.nll(fresh, ids)) - nll)).toBeLessThan(1e-4 * nll);
    }
  },
  COMPILE_TIMEOUT,
);

test("64 greedy tokens are transformers'", async () => {
  for (const { ids, greedy_ids: wanted } of texts) {
    using cache = decoder.createCache();
    const found: number[] = [];
    let last = ids;
    while (found.length < wanted.length) {
      last = bestOf(await logitsAfter(decoder, last, cache), 1).ids;
      found.push(...last);
    }
    expect(found).toEqual(wanted);
  }
});

test(
  "blocks and the cache change nothing",
  async () => {
    const ids = texts.flatMap((text) => text.ids);
    using whole = decoder.createCache();
    const wanted = await decoder.nll(whole, ids);
    for (const block of [1, 3, 7, 32]) {
      using cache = decoder.createCache();
      const found = await decoder.nll(cache, ids, { block });
      expect(cache.length).toBe(ids.length);
      expect(found.length).toBe(wanted.length);
      const worst = found.reduce((most, value, at) => Math.max(most, Math.abs(value - (wanted[at] ?? NaN))), 0);
      expect(worst).toBeLessThan(1e-4);
    }
    // What was forgotten leaves no trace, and a cache that grew kept what it held.
    using cache = decoder.createCache();
    await decoder.nll(cache, [...ids, ...ids, ...ids, ...ids, ...ids]);
    expect(cache.length).toBeGreaterThan(256);
    cache.slot.truncate(4);
    const rest = await decoder.nll(cache, ids.slice(4));
    expect([...rest].every((value, at) => Math.abs(value - (wanted[at + 4] ?? NaN)) < 1e-4)).toBe(true);
  },
  COMPILE_TIMEOUT,
);

test("nothing stays in GPU memory", async () => {
  const before = gpu.memory.liveBytes;
  {
    using other = await loadDecoder(gpu, STORIES);
    using cache = other.createCache();
    await logitsAfter(other, [1, 2, 3], cache);
  }
  expect(gpu.memory.liveBytes).toBe(before);
});

test("a pass that is stopped after some blocks leaves nothing in GPU memory, and neither does a load", async () => {
  const before = gpu.memory.liveBytes;
  /** Is aborted when it is asked for the third time. */
  function impatient(): AbortSignal {
    let asked = 0;
    const stop = new AbortController();
    const { throwIfAborted } = stop.signal;
    stop.signal.throwIfAborted = () => {
      if (++asked === 3) stop.abort(new Error("enough"));
      throwIfAborted.call(stop.signal);
    };
    return stop.signal;
  }
  const ids = Array.from({ length: 20 }, (_, at) => at);
  const options = () => ({ block: 4, signal: impatient() });
  for (const pass of [
    (into: KvCache) => logitsAfter(decoder, ids, into, options()),
    (into: KvCache) => decoder.nll(into, ids, options()),
  ]) {
    using cache = decoder.createCache();
    await expect(pass(cache)).rejects.toThrow("enough");
    expect(cache.length).toBe(8);
  }
  await expect(loadDecoder(gpu, STORIES, { signal: impatient() })).rejects.toThrow("enough");
  expect(gpu.memory.liveBytes).toBe(before);
  await gpu.idle();
});

test("an id beyond the vocabulary and an aborted pass are refused, and the model lives on", async () => {
  using cache = decoder.createCache();
  await expect(logitsAfter(decoder, [1, 512], cache)).rejects.toMatchObject({
    code: "model",
    message: "token 512 is beyond the model's vocabulary of 512",
  });
  const stop = AbortSignal.abort(new Error("enough"));
  await expect(logitsAfter(decoder, [1, 2], cache, { signal: stop })).rejects.toThrow("enough");
  expect(cache.length).toBe(0);
  await logitsAfter(decoder, [1, 2], cache);
});

test("weights are found by the checkpoint's names", () => {
  const { tensors } = decoder.weights;
  expect(tensors.get("model.layers.0.self_attn.k_proj.weight")).toMatchObject({ shape: [32, 64], offset: 64 * 64 });
  expect(tensors.get("model.layers.4.mlp.up_proj.weight")).toMatchObject({ shape: [172, 64], offset: 172 * 64 });
  expect(decoder.weights.head).toBe(decoder.weights.embedding);
});
