// What only a driver does.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { RandloraError } from "../../files/errors.ts";
import { listGpus } from "./choose.ts";
import { createInstance, releaseInstance } from "./dawn.ts";
import { findVulkanDrivers } from "./doctor-drivers.ts";
import { Gpu } from "./gpu.ts";
import { Stream } from "./stream.ts";
import { DOUBLE, factorOf } from "./testing/double.ts";
import type { DeviceBuffer } from "../device/device.ts";
import { read, uploaded } from "../device/transfer.ts";

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

test("many dispatches of one submission see their own parameters and each other's results", async () => {
  const kernel = await gpu.pipelines.get(DOUBLE);
  const count = 1000;
  const values = Float32Array.from({ length: count }, (_, index) => index);
  let [from, to]: [DeviceBuffer, DeviceBuffer] = [uploaded(gpu, "from", values), gpu.memory.allocate("to", 4 * count)];
  const stream = new Stream(gpu);
  const steps = 5000; // more than one page of uniforms
  for (let step = 0; step < steps; step++) {
    stream.dispatch(kernel, factorOf(count, step === steps - 1 ? 3 : step % 2 === 0 ? 2 : 0.5), [from, to], [16]);
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

test("kernels' parameters and data on their way back are counted like all else", async () => {
  using own = await Gpu.open({ profile: true });
  const kernel = await own.pipelines.get(DOUBLE);
  const [from, to] = [own.memory.allocate("from", 64), own.memory.allocate("to", 64)];
  const before = own.memory.liveBytes;
  const stream = new Stream(own);
  stream.dispatch(kernel, factorOf(16, 1), [from, to], [1]);
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

test("Dawn heeds the backend: the card is not opened under another", async () => {
  const instance = createInstance(["backend=null", `adapter=${(await listGpus())[0]?.name ?? ""}`]);
  await expect(instance.requestAdapter()).rejects.toThrow();
  releaseInstance(instance);
});

test("this machine's GPUs can be opened by index and by name, and an unknown name is refused before anything opens", async () => {
  const list = await listGpus();
  expect(list.length).toBeGreaterThan(0);
  for (const [index, { name, software }] of list.entries()) {
    for (const choice of [String(index), name]) {
      using gpu = await Gpu.open({ choice });
      expect(gpu.info.software).toBe(software);
    }
  }
  const failure = await Gpu.open({ choice: "no such card" }).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(RandloraError);
  expect(failure).toMatchObject({ code: "gpu", hint: expect.stringContaining(list[0]?.name ?? "") });
});

test("a software GPU takes no integer dot products", () => {
  if (gpu.info.software) expect(gpu.info.integerDots).toBe(false);
  expect(gpu.counting().staging).toEqual(gpu.staging);
});

test("only Linux has a Vulkan loader of the system", async () => {
  const found = await findVulkanDrivers();
  if (process.platform !== "linux") expect(found).toBeUndefined();
  else expect(found).toMatchObject({ loader: true }); // every test here needs it
});
