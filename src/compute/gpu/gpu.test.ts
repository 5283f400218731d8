import { afterAll, beforeAll, expect, test } from "bun:test";
import { RandloraError } from "../../files/errors.ts";
import { Gpu } from "./gpu.ts";
import { Stream } from "./stream.ts";
import type { DeviceBuffer } from "../device/device.ts";
import { read, uploaded } from "../device/transfer.ts";

const DOUBLE = {
  key: "test/double",
  code: `
    struct Parameters { count: u32, factor: f32 }
    @group(0) @binding(0) var<uniform> parameters: Parameters;
    @group(0) @binding(1) var<storage, read> source: array<f32>;
    @group(0) @binding(2) var<storage, read_write> target_: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
      if (id.x < parameters.count) { target_[id.x] = source[id.x] * parameters.factor; }
    }`,
};

let gpu: Gpu;
beforeAll(async () => {
  gpu = await Gpu.open({ profile: true, limits: "guaranteed" });
});
afterAll(() => gpu.close());

test("only timing asks for a feature; what else the GPU has is known", async () => {
  using plain = await Gpu.open();
  const [timed, usual] = [new Set<string>(gpu.device.features), new Set<string>(plain.device.features)];
  expect(["timestamp-query", "subgroups", "shader-f16"].filter((name) => usual.has(name))).toEqual([]);
  expect(timed.has("timestamp-query")).toBe(gpu.info.features.includes("timestamp-query"));
  expect(plain.info.features).toEqual(gpu.info.features);
});

function parameters(count: number, factor: number): DataView {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint32(0, count, true);
  view.setFloat32(4, factor, true);
  return view;
}

test("many dispatches of one submission see their own parameters and each other's results", async () => {
  const kernel = await gpu.pipelines.get(DOUBLE);
  const count = 1000;
  const values = Float32Array.from({ length: count }, (_, index) => index);
  let [from, to]: [DeviceBuffer, DeviceBuffer] = [uploaded(gpu, "from", values), gpu.memory.allocate("to", 4 * count)];
  const stream = new Stream(gpu);
  const steps = 5000; // more than one page of uniforms
  for (let step = 0; step < steps; step++) {
    stream.dispatch(kernel, parameters(count, step === steps - 1 ? 3 : step % 2 === 0 ? 2 : 0.5), [from, to], [16]);
    [from, to] = [to, from];
  }
  stream.submit();
  const result = new Float32Array((await read(gpu, from)).buffer);
  const wrong = result.findIndex((value, index) => value !== 6 * index); // 4999 steps of ×2, ×½, … leave ×2, the last is ×3
  expect(wrong).toBe(-1);
  for (const buffer of [from, to]) gpu.memory.release(buffer);
  const report = await gpu.profiler?.report();
  expect(report?.map(({ kernel, calls }) => [kernel, calls])).toEqual([["test/double", steps]]); // each one was timed
  expect(report?.[0]?.seconds).toBeGreaterThan(0);
});

test("a buffer of more bytes than the GPU binds at once is refused by name, a part of it is not", async () => {
  const most = gpu.limits.maxStorageBufferBindingSize;
  const kernel = await gpu.pipelines.get(DOUBLE);
  const large = gpu.memory.allocate("a large γ", most + 256);
  const to = gpu.memory.allocate("to", 64);
  const stream = new Stream(gpu);
  expect(() => stream.dispatch(kernel, parameters(16, 1), [large, to], [1])).toThrow(/^a large γ: .* binds at most /);
  stream.dispatch(kernel, parameters(16, 1), [{ of: large, offset: 256, size: most }, to], [1]);
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
    expect(() => stream.dispatch(kernel, parameters(16, 1), [from, to], groups)).toThrow(
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
  using own = await Gpu.open();
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
  using own = await Gpu.open();
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

test("under --memory buffers are kept up to the limit, idle ones make room, and what exceeds it is refused", async () => {
  using own = await Gpu.open({ memory: 200 << 20 });
  const { memory } = own;
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
  expect(own.counting().memory.limit).toBe(Infinity);
});

test("idle buffers that were not used since the last look go", async () => {
  using own = await Gpu.open();
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

test("kernels' parameters and data on their way back are counted like all else", async () => {
  using own = await Gpu.open({ profile: true });
  const kernel = await own.pipelines.get(DOUBLE);
  const [from, to] = [own.memory.allocate("from", 64), own.memory.allocate("to", 64)];
  const before = own.memory.liveBytes;
  const stream = new Stream(own);
  stream.dispatch(kernel, parameters(16, 1), [from, to], [1]);
  expect(own.memory.liveBytes - before).toBe(64 * 1024);
  stream.submit();
  const timestamps = own.profiler === undefined ? 0 : 2 * 16;
  expect(own.memory.liveBytes - before).toBe(timestamps);
  await own.profiler?.report();
  const during = await own.readWith([{ buffer: to, offset: 0, size: 64 }], async () => own.memory.liveBytes - before);
  expect(during).toBe(64);
  expect(own.memory.liveBytes).toBe(before);
});

test("what a closed GPU held may still be released, once or not at all", async () => {
  const own = await Gpu.open();
  const buffer = own.memory.allocate("late", 64);
  const reading = read(own, buffer).then(
    () => undefined,
    (error: unknown) => error,
  );
  own.close();
  expect(String(await reading)).toContain("the GPU did not finish its work");
  expect(() => own.memory.release(buffer)).not.toThrow();
});

test("a buffer beyond the GPU's limit is refused by name", () => {
  expect(() => gpu.memory.allocate("the logits", gpu.limits.maxBufferSize + 4)).toThrow(
    /^the logits: needs one buffer/,
  );
});

test("bad WGSL is an error that names the kernel and quotes the compiler", async () => {
  const broken = gpu.pipelines.get({ key: "test/broken", code: "@compute fn main() { nonsense }" });
  await expect(broken).rejects.toThrow(/kernel test\/broken is not valid WGSL/);
});

test("a validation error ends the next wait with its message", async () => {
  using own = await Gpu.open();
  own.device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
  const failure = own.idle().then(
    () => undefined,
    (error: unknown) => error,
  );
  const error = await failure;
  expect(error).toBeInstanceOf(RandloraError);
  expect(String(error)).toContain("the GPU refused a command");
});

test("bytes of any length come back", async () => {
  const bytes = Uint8Array.from({ length: 1027 }, (_, index) => index);
  const buffer = uploaded(gpu, "bytes", bytes);
  expect(await read(gpu, buffer)).toEqual(bytes);
  gpu.memory.release(buffer);
});
