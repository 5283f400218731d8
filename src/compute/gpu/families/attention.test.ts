import { afterAll, beforeAll, expect, spyOn, test } from "bun:test";
import type { Attention } from "../../device/families/attention.ts";
import { RunMemory } from "../../device/run-memory.ts";
import { takeScratch } from "../../device/scratch.ts";
import { openTestGpu } from "../../device/testing/open.ts";
import type { Gpu } from "../gpu.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

/** Workgroups of each dispatch, and elements of records, of an 8B model's tokens over a cache of so many rows. */
function dispatched(tokens: number, positions: number, given: Partial<Attention>): unknown[] {
  const counting = gpu.counting();
  using on = counting.recording(new RunMemory(counting));
  const dispatch = spyOn(on, "dispatch");
  const q = takeScratch(on, "q", [tokens, 32 * 128]);
  const cache = takeScratch(on, "keys", [positions, 8 * 128], "F16");
  const shared = { first: undefined, last: undefined, lse: undefined, softcap: undefined, window: Infinity };
  const sizes = { headSize: 128, firstPosition: 0, scale: 1 };
  on.compute("attention", { ...shared, ...sizes, q, keys: cache, values: cache, y: q, ...given });
  return dispatch.mock.calls.map(([, , , workgroups]) => workgroups);
}

test("each tile of what eight slots of 8k keep is a workgroup's for each kv head, whoever's it is", () => {
  const rows = takeScratch(gpu.recording(new RunMemory(gpu)), "rows", [1, 8], "U32");
  const tiles = (8 * 8192) / 128;
  const all = dispatched(8, 8 * 8192, { first: rows, last: rows, apart: true });
  expect(all).toEqual([
    [1, 8, tiles],
    [32, 8],
  ]);
});

test("of a sequence the tiles that its tokens see are taken, however many the cache has", () => {
  expect(dispatched(2, 65_536, { firstPosition: 1023 })).toEqual([
    [1, 8, 9],
    [32, 2],
  ]);
  expect(dispatched(1, 65_536, { firstPosition: 10_000, window: 1000 })).toEqual([
    [1, 8, 9],
    [32, 1],
  ]);
  expect(dispatched(2, 65_536, { firstPosition: 100 })).toEqual([[1, 8, 1]]);
});
