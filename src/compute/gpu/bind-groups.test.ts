import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Gpu } from "./gpu.ts";
import { openTestGpu } from "../device/testing/open.ts";
import { nativeBuffer } from "./memory.ts";
import { Stream } from "./stream.ts";
import { read, uploaded } from "../device/transfer.ts";

const ADD = {
  key: "test/add",
  code: `
    struct Parameters { addend: f32 }
    @group(0) @binding(0) var<uniform> parameters: Parameters;
    @group(0) @binding(1) var<storage, read_write> numbers: array<f32>;
    @compute @workgroup_size(1) fn main() { numbers[0] += parameters.addend; }`,
};

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

/** What is in `numbers` after these were added to its first one, each by a dispatch. */
async function add(buffer: ReturnType<typeof uploaded>, addends: readonly number[], offset?: number) {
  const kernel = await gpu.pipelines.get(ADD);
  const stream = new Stream(gpu);
  const binding = offset === undefined ? buffer : { of: buffer, offset, size: 16 };
  for (const addend of addends) stream.dispatch(kernel, Float32Array.of(addend, 0, 0, 0), [binding], [1]);
  stream.submit();
  return new Float32Array((await read(gpu, buffer)).buffer);
}

test("dispatches of a kernel on the same ranges share one group, and each has its own parameters", async () => {
  const buffer = uploaded(gpu, "numbers", new Float32Array(128));
  const before = gpu.bindGroups.count;
  expect((await add(buffer, [1, 10, 100]))[0]).toBe(111);
  expect((await add(buffer, [1000]))[0]).toBe(1111);
  expect(gpu.bindGroups.count - before).toBe(1);
  expect((await add(buffer, [5], 256))[64]).toBe(5);
  expect(gpu.bindGroups.count - before).toBe(2);
  gpu.memory.release(buffer);
});

test("the groups of a buffer that is destroyed are forgotten, those of one that is only released are not", async () => {
  const [one, other] = [64, 68].map((count) => uploaded(gpu, "numbers", new Float32Array(count)));
  if (one === undefined || other === undefined) throw new Error("no buffers");
  gpu.memory.trim();
  const before = gpu.bindGroups.count;
  await add(one, [1]);
  await add(other, [1]);
  gpu.memory.release(one);
  expect(gpu.bindGroups.count - before).toBe(2);
  gpu.memory.trim(); // with the page of parameters, which both bind
  expect(gpu.bindGroups.count).toBe(0);
  await add(other, [1]);
  expect(gpu.bindGroups.count).toBe(1);
  gpu.memory.release(other);
});

test("the number of groups is bounded, and one that was forgotten is made again", async () => {
  const buffer = uploaded(gpu, "numbers", new Float32Array(64));
  const { layout } = await gpu.pipelines.get(ADD);
  const bind = (size: number) =>
    gpu.bindGroups.get(layout, [
      { buffer: page.buffer, offset: 0, size: 16 },
      { buffer: nativeBuffer(buffer), offset: 0, size },
    ]);
  const page = gpu.memory.allocate("page", 64 * 1024, "uniforms");
  const first = bind(4);
  for (let index = 0; index < 5000; index++) {
    gpu.bindGroups.get(layout, [
      { buffer: page.buffer, offset: 0, size: 16 + 4 * index },
      { buffer: nativeBuffer(buffer), offset: 0, size: 256 },
    ]);
  }
  expect(gpu.bindGroups.count).toBeLessThanOrEqual(4096);
  expect(bind(256)).toBe(bind(256));
  expect(bind(4)).not.toBe(first);
  gpu.memory.release(page);
  expect((await add(buffer, [3]))[0]).toBe(3);
  gpu.memory.release(buffer);
});
