// Every variant of every kernel is compiled.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Gpu } from "../../src/compute/gpu/gpu.ts";
import { everyKernel } from "../../src/compute/gpu/testing/every-kernel.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await Gpu.open();
});
afterAll(() => gpu.close());

test.each(everyKernel().map((source) => [source.key, source] as const))("%s compiles", async (key, source) => {
  expect((await gpu.pipelines.get(source)).key).toBe(key);
});
