import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import { Run } from "../../compute/tensor/run.ts";
import { Parameters, ROLES } from "./parameters.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const PLANS = [
  { name: "one", shape: [1, 1] },
  { name: "odd", shape: [3, 5] },
  { name: "even", shape: [16, 8] },
  { name: "large", shape: [40, 9] },
] as const;

test("what is written is read back, role by role, and the memory is given back", async () => {
  const before = gpu.memory.liveBytes;
  const parameters = new Parameters(gpu, PLANS);
  expect(parameters.count).toBe(1 + 15 + 128 + 360);
  expect(parameters.chunks.map(({ size }) => size)).toEqual([64 + 64 + 128 + 512]);
  expect(gpu.memory.liveBytes - before).toBe(parameters.bytes);
  for (const { name, shape } of parameters.all) {
    for (const [index, role] of ROLES.entries()) {
      expect(await parameters.read(name, role)).toEqual(new Float32Array(shape[0] * shape[1]));
      parameters.write(
        name,
        role,
        Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => i * 4 + index),
      );
    }
  }
  for (const { name, shape } of parameters.all) {
    for (const [index, role] of ROLES.entries()) {
      const want = Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => i * 4 + index);
      expect(await parameters.read(name, role)).toEqual(want);
    }
  }
  parameters.release();
  expect(gpu.memory.liveBytes).toBe(before);
});

test("chunks stay below the limit, a larger tensor has one of its own, and views are operands", async () => {
  const parameters = new Parameters(gpu, PLANS, 1024);
  expect(parameters.chunks.map(({ size }) => size)).toEqual([256, 512]);
  const { value, gradient } = parameters.get("odd");
  expect(value.offset % 64).toBe(0);
  expect(value.pitch).toBe(8);
  parameters.write("odd", "value", new Float32Array(15).fill(2));
  using run = new Run(gpu);
  run.apply(OPS.add, { a: value, b: value }, {}, { y: gradient });
  await run.submit();
  expect(await parameters.read("odd", "gradient")).toEqual(new Float32Array(15).fill(4));
  expect(await parameters.read("one", "gradient")).toEqual(new Float32Array(1));
  parameters.release();
});

test("names are unique and sizes must fit", () => {
  expect(() => new Parameters(gpu, [PLANS[0], PLANS[0]])).toThrow("one name");
  const parameters = new Parameters(gpu, PLANS);
  expect(() => parameters.write("odd", "value", new Float32Array(14))).toThrow("14 numbers");
  expect(() => parameters.get("none")).toThrow("no parameter none");
  parameters.release();
});

test("what is not trained takes memory for its values alone", async () => {
  const before = gpu.memory.liveBytes;
  const parameters = new Parameters(gpu, PLANS, undefined, false);
  expect(parameters.bytes).toBe(4 * (64 + 64 + 128 + 512));
  expect(gpu.memory.liveBytes - before).toBe(parameters.bytes);
  const numbers = Float32Array.from({ length: 15 }, (_, i) => i);
  parameters.write("odd", "value", numbers);
  expect(await parameters.read("odd")).toEqual(numbers);
  parameters.release();
  expect(gpu.memory.liveBytes).toBe(before);
});
