import { expect, test } from "bun:test";
import { RandloraError } from "../../files/errors.ts";
import { Gpu } from "./gpu.ts";
import { limitBuffers } from "./testing/full-gpu.ts";
import { read, uploaded } from "../device/transfer.ts";

/*
 * A software GPU is never lost and never full (it dies with the machine's memory instead). So the device, its queue and
 * its buffers are real here, and only the news comes from the test: the promise `device.lost`, and what an error scope
 * had caught.
 */

/** Opens a GPU whose loss the caller announces. */
async function openFragile(): Promise<{ gpu: Gpu; lose: (reason: string, message: string) => void }> {
  (await Gpu.open()).close(); // Dawn's classes are globals only once its library is loaded
  const { requestDevice } = GPUAdapter.prototype;
  const { promise, resolve } = Promise.withResolvers<{ reason: string; message: string }>();
  GPUAdapter.prototype.requestDevice = async function (this: GPUAdapter, descriptor) {
    const device = await requestDevice.call(this, descriptor);
    return Object.defineProperty(device, "lost", { value: promise });
  };
  try {
    return { gpu: await Gpu.open(), lose: (reason, message) => resolve({ reason, message }) };
  } finally {
    GPUAdapter.prototype.requestDevice = requestDevice;
  }
}

const caught = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => "no error",
    (error: unknown) => error,
  );

test("a lost device ends the wait in progress and every later one, in words", async () => {
  const { gpu, lose } = await openFragile();
  using _ = gpu;
  const waiting = caught(gpu.settle(new Promise(() => {}))); // work that a dead device never finishes
  lose("unknown", "VK_ERROR_DEVICE_LOST");
  const error = await waiting;
  expect(error).toBeInstanceOf(RandloraError);
  expect(error).toMatchObject({
    code: "gpu",
    message: "the GPU was lost (unknown): VK_ERROR_DEVICE_LOST",
    hint: expect.stringContaining("the driver was reset"),
  });
  expect(await caught(gpu.idle())).toBe(error);
  expect(() => gpu.check()).toThrow("the GPU was lost");
  // What is begun all the same fails with it, and not a second time by itself.
  expect(await caught(gpu.settle(Promise.reject(new Error("aborted"))))).toBe(error);
});

test("a device that is closed is no failure; one that others destroy is", async () => {
  const gpu = await Gpu.open();
  gpu.close();
  expect(await gpu.device.lost).toMatchObject({ reason: "destroyed" });
  expect(() => gpu.check()).not.toThrow();
  const other = await Gpu.open();
  const buffer = other.memory.allocate("buffer", 16);
  other.device.destroy();
  const error = await caught(read(other, buffer));
  expect(error).toBeInstanceOf(RandloraError);
  expect(error).toMatchObject({ code: "gpu", message: expect.stringContaining("the GPU was lost (destroyed)") });
  other.close();
});

test("a full GPU is reported at the next wait, with the buffer's name and sizes", async () => {
  using gpu = await Gpu.open();
  gpu.memory.allocate("weights", 3 * 2 ** 20);
  await gpu.idle();
  const { popErrorScope } = gpu.device;
  gpu.device.popErrorScope = async () => {
    await popErrorScope.call(gpu.device);
    return new GPUOutOfMemoryError("VK_ERROR_OUT_OF_DEVICE_MEMORY");
  };
  gpu.memory.allocate("the logits", 2 ** 20);
  expect(await caught(gpu.idle())).toMatchObject({
    code: "memory",
    message: "the logits: the GPU has no room for 1.0 MiB beside 3.0 MiB in use",
    hint: expect.stringContaining("--device"),
  });
});

test("so is one with no room for what is read back", async () => {
  using gpu = await Gpu.open();
  const weights = gpu.memory.allocate("weights", 3 * 2 ** 20);
  await gpu.idle();
  const { popErrorScope } = gpu.device;
  gpu.device.popErrorScope = async () => {
    await popErrorScope.call(gpu.device);
    return new GPUOutOfMemoryError("VK_ERROR_OUT_OF_DEVICE_MEMORY");
  };
  expect(await caught(read(gpu, weights))).toMatchObject({
    code: "memory",
    message: "read: the GPU has no room for 3.0 MiB beside 3.0 MiB in use",
  });
});

test("a GPU with no room to upload data in tells whoever uses the buffer that they were for, and goes on", async () => {
  using gpu = await Gpu.open();
  const bytes = Uint8Array.from({ length: 8 * 2 ** 20 + 3 }, (_, at) => at % 251);
  const before = gpu.memory.allocate("weights", bytes.length);
  await gpu.idle();
  {
    using _ = limitBuffers(gpu, 0);
    gpu.write(before, bytes.subarray(0, 100));
    await gpu.memory.confirm([before]);
    gpu.write(before, bytes);
    const message = "weights: the GPU has no room for 8.0 MiB beside 8.0 MiB in use";
    for (let time = 0; time < 2; time++) {
      expect(await caught(gpu.memory.confirm([before]))).toMatchObject({ code: "memory", message });
    }
    await gpu.idle();
  }
  gpu.memory.release(before);
  expect(await read(gpu, uploaded(gpu, "weights", bytes))).toEqual(bytes);
});

test("small uploads, too, however many come at once: Dawn itself makes room for a mebibyte at most", async () => {
  using gpu = await Gpu.open();
  const held = gpu.memory.allocate("lambdas", 2 ** 18);
  const write = (times: number) => {
    for (let time = 0; time < times; time++) gpu.write(held, new Uint8Array(2 ** 18));
  };
  await gpu.idle();
  using full = limitBuffers(gpu, 0);
  for (let time = 0; time < 3; time++) {
    write(4);
    await gpu.idle();
  }
  expect(full.refused).toBe(0);
  write(5);
  expect(await caught(gpu.memory.confirm([held]))).toMatchObject({
    code: "memory",
    message: expect.stringContaining("lambdas: "),
  });
  expect(full.refused).toBe(1);
});

test("a GPU that is full for a buffer outside of all scopes says so, too", async () => {
  using gpu = await Gpu.open();
  const error = new GPUOutOfMemoryError("VK_ERROR_OUT_OF_DEVICE_MEMORY");
  gpu.device.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error }));
  expect(await caught(gpu.idle())).toMatchObject({ code: "memory", message: expect.stringContaining("has no room") });
});

test("only the first failure counts: what follows from it explains nothing", async () => {
  const { gpu, lose } = await openFragile();
  using _ = gpu;
  gpu.device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
  const first = await caught(gpu.idle());
  expect(first).toMatchObject({ message: expect.stringContaining("the GPU refused a command") });
  lose("unknown", "gone");
  expect(await caught(gpu.idle())).toBe(first);
});

test("a failed kernel leaves the device usable, and can be asked for again", async () => {
  using gpu = await Gpu.open();
  const broken = { key: "test/broken", code: "@compute @workgroup_size(1) fn other() {}" };
  for (let attempt = 0; attempt < 2; attempt++) {
    expect(await caught(gpu.pipelines.get(broken))).toMatchObject({
      code: "gpu",
      message: expect.stringContaining("test/broken"),
      hint: expect.stringContaining("doctor"),
    });
  }
  const bytes = Uint8Array.of(1, 2, 3, 4);
  expect(await read(gpu, uploaded(gpu, "bytes", bytes))).toEqual(bytes);
});

test("more workgroups than an axis allows are refused by the kernel's name, and nothing is lost", async () => {
  using gpu = await Gpu.open();
  const code = `
    @group(0) @binding(0) var<uniform> p: vec4<u32>;
    @group(0) @binding(1) var<storage, read_write> target_: array<u32>;
    @compute @workgroup_size(1) fn main() { target_[0] = p.x; }`;
  const kernel = await gpu.pipelines.get({ key: "test/one", code });
  const { Stream } = await import("./stream.ts");
  const stream = new Stream(gpu);
  const target = gpu.memory.allocate("target", 16);
  const most = gpu.limits.maxComputeWorkgroupsPerDimension;
  expect(() => stream.dispatch(kernel, Uint32Array.of(7, 0, 0, 0), [target], [most + 1])).toThrow(
    `kernel test/one: ${most + 1}×1×1 workgroups, this GPU allows ${most} an axis`,
  );
  stream.dispatch(kernel, Uint32Array.of(9, 0, 0, 0), [target], [1]);
  stream.submit();
  expect((await read(gpu, target))[0]).toBe(9);
});
