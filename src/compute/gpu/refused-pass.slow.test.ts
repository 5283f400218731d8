import { expect, test } from "bun:test";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { bestOf, logitsAfter } from "../../models/testing/logits.ts";
import { Gpu } from "./gpu.ts";

test("a pass that the GPU cannot take leaves nothing behind, neither in the cache nor for the next pass", async () => {
  using gpu = await Gpu.open();
  using decoder = await loadDecoder(gpu, STORIES);
  const [{ ids = [], top_ids: best = [] } = {}] = await expectedStories();
  using cache = decoder.createCache();
  const many = Array.from({ length: gpu.limits.maxComputeWorkgroupsPerDimension + 1 }, () => 1);
  await cache.reserve(many.length);
  const before = gpu.memory.liveBytes;
  await expect(logitsAfter(decoder, many, cache, { block: many.length })).rejects.toMatchObject({ code: "gpu" });
  expect([cache.length, gpu.memory.liveBytes]).toEqual([0, before]);
  expect(bestOf(await logitsAfter(decoder, ids, cache), best.length).ids).toEqual(best);
});
