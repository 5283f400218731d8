import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Gpu } from "./gpu.ts";
import { GpuMemory } from "./memory.ts";
import { Stream } from "./stream.ts";
import { DOUBLE, factorOf } from "./testing/double.ts";
import type { DeviceBuffer } from "../device/device.ts";
import { openTestGpu } from "../device/testing/open.ts";
import { read, uploaded } from "../device/transfer.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openTestGpu("guaranteed");
});
afterAll(() => gpu.close());

test("a buffer of more bytes than the GPU binds at once is refused by name, a part of it is not", async () => {
  const most = gpu.limits.maxStorageBufferBindingSize;
  const kernel = await gpu.pipelines.get(DOUBLE);
  const large = gpu.memory.allocate("a large γ", most + 256);
  const to = gpu.memory.allocate("to", 64);
  const stream = new Stream(gpu);
  expect(() => stream.dispatch(kernel, factorOf(16, 1), [large, to], [1])).toThrow(/^a large γ: .* binds at most /);
  stream.dispatch(kernel, factorOf(16, 1), [{ of: large, offset: 256, size: most }, to], [1]);
  stream.submit();
  await gpu.idle();
  for (const buffer of [large, to]) gpu.memory.release(buffer);
});

test("more workgroups than an axis has are refused, with what to do", async () => {
  const kernel = await gpu.pipelines.get(DOUBLE);
  const [from, to] = [gpu.memory.allocate("from", 64), gpu.memory.allocate("to", 64)];
  const most = gpu.limits.maxComputeWorkgroupsPerDimension;
  const stream = new Stream(gpu);
  for (const groups of [[most + 1], [1, most + 1], [1, 1, most + 1]] as const) {
    expect(() => stream.dispatch(kernel, factorOf(16, 1), [from, to], groups)).toThrow(
      expect.objectContaining({ code: "gpu", hint: expect.stringContaining("--batch-size, --max-length") }),
    );
  }
  for (const buffer of [from, to]) gpu.memory.release(buffer);
});

test("released buffers are reused, live and peak bytes are counted", () => {
  const before = gpu.memory.liveBytes;
  const first = gpu.memory.allocate("first", 4096);
  expect(gpu.memory.liveBytes - before).toBe(4096);
  gpu.memory.release(first);
  expect(gpu.memory.liveBytes).toBe(before);
  const second = gpu.memory.allocate("second", 4096);
  expect(second.buffer).toBe(first.buffer);
  expect(gpu.memory.peakBytes).toBeGreaterThanOrEqual(before + 4096);
  gpu.memory.release(second);
  expect(() => gpu.memory.release(second)).toThrow("released twice");
});

test("idle buffers make room where more would exist than was ever in use", async () => {
  using own = await openTestGpu();
  const { memory } = own;
  const take = (...sizes: number[]) => sizes.map((size) => memory.allocate("some", size));
  for (const one of take(1 << 20, 1 << 20)) memory.release(one);
  expect(memory.idleBytes).toBe(2 << 20);
  memory.stayWithinPeak();
  expect(memory.idleBytes).toBe(0);
  for (const one of take(1 << 19)) memory.release(one);
  const held = take(1 << 20, 1 << 18);
  expect(memory.idleBytes).toBe(1 << 19);
  held.push(...take(3 << 18)); // with the idle one that were more than two megabytes
  expect([memory.idleBytes, memory.liveBytes]).toEqual([0, 2 << 20]);
  for (const one of held) memory.release(one);
});

test("within a known peak large buffers are kept, and only as many go as must make room", async () => {
  using own = await openTestGpu();
  const { memory } = own;
  const take = (...sizes: number[]) => sizes.map((size) => memory.allocate("some", size));
  const release = (held: readonly DeviceBuffer[]) => held.forEach((one) => memory.release(one));
  release(take(80 << 20, 70 << 20, 1 << 20));
  expect(memory.idleBytes).toBe(1 << 20); // more than one of this size is not kept where no peak is known
  memory.stayWithinPeak();
  const [first, second] = take(80 << 20, 70 << 20);
  release([first, second].filter((one) => one !== undefined));
  expect(memory.idleBytes).toBe(150 << 20);
  const again = take(80 << 20, 70 << 20);
  expect(again.map(({ buffer }) => buffer)).toEqual([first?.buffer, second?.buffer].filter((one) => one !== undefined));
  release(again);
  release(take(60 << 20)); // one of the two makes room
  expect([130 << 20, 140 << 20]).toContain(memory.idleBytes);
});

test("under --memory buffers are kept up to the limit, idle ones make room, and what exceeds it is refused", () => {
  const memory = new GpuMemory(gpu.device, () => {}, 200 << 20);
  const take = (...sizes: number[]) => sizes.map((size) => memory.allocate("some", size << 20));
  const first = take(80, 70);
  expect(() => memory.allocate("more", 60 << 20)).toThrow(
    expect.objectContaining({
      code: "memory",
      message: "more: 62.9 MB are needed beside 157 MB in use, and --memory allows 210 MB",
    }),
  );
  first.forEach((one) => memory.release(one));
  expect(memory.idleBytes).toBe(150 << 20);
  const second = take(90);
  expect(memory.liveBytes + memory.idleBytes).toBeLessThanOrEqual(200 << 20);
  second.forEach((one) => memory.release(one));
  memory.restart();
  expect(memory.limit).toBe(200 << 20);
});

test("idle buffers that were not used since the last look go", async () => {
  using own = await openTestGpu();
  const { memory } = own;
  const use = (...sizes: number[]) => {
    const held = sizes.map((size) => memory.allocate("some", size));
    for (const one of held) memory.release(one);
    return held.map(({ buffer }) => buffer);
  };
  use(1 << 20, 1 << 20, 1 << 10);
  memory.dropUnused(); // all of them were used
  expect(memory.idleBytes).toBe((2 << 20) + (1 << 10));
  const again = use(1 << 20, 1 << 10);
  memory.dropUnused();
  expect(memory.idleBytes).toBe((1 << 20) + (1 << 10));
  expect(use(1 << 20, 1 << 10)).toEqual(again);
  memory.dropUnused();
  memory.dropUnused();
  expect(memory.idleBytes).toBe(0);
});

test("a buffer beyond the GPU's limit is refused by name", () => {
  expect(() => gpu.memory.allocate("the logits", gpu.limits.maxBufferSize + 4)).toThrow(
    /^the logits: needs one buffer/,
  );
});

test("bytes of any length come back", async () => {
  const bytes = Uint8Array.from({ length: 1027 }, (_, index) => index);
  const buffer = uploaded(gpu, "bytes", bytes);
  expect(await read(gpu, buffer)).toEqual(bytes);
  gpu.memory.release(buffer);
});
