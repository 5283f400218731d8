import { afterAll, beforeAll, expect, test } from "bun:test";
import { read, uploaded } from "../device/transfer.ts";
import { RunMemory } from "../device/run-memory.ts";
import { tensorIn } from "../device/tensor.ts";
import { CpuDevice } from "./cpu.ts";

let device: CpuDevice;
beforeAll(async () => {
  device = await CpuDevice.open({ threads: 2 });
});
afterAll(() => device.close());

test("bytes come back, copied and cleared in between", async () => {
  const bytes = Uint8Array.from({ length: 2 ** 20 + 3 }, (_, at) => at * 7);
  const one = uploaded(device, "one", bytes);
  const other = device.memory.allocate("other", bytes.length);
  device.copy([{ from: one, to: other, size: 2 ** 20 + 4 }]);
  device.clear([one]);
  device.write(one, Uint8Array.of(1, 2, 3));
  expect((await read(device, one)).slice(0, 8)).toEqual(Uint8Array.of(1, 2, 3, 0, 0, 0, 0, 0));
  expect(await read(device, other)).toEqual(bytes);
  device.memory.release(one);
  device.memory.release(other);
});

test("a product", async () => {
  const a = tensorIn(uploaded(device, "a", Float32Array.of(1, 2, 3, 0, 4, 5, 6, 0)), [2, 3], "F32");
  const b = tensorIn(uploaded(device, "b", Float32Array.of(1, 0, 1, 0, 0, 1, 0, 0)), [2, 3], "F32");
  const y = tensorIn(device.memory.allocate("y", 32), [2, 2], "F32");
  using recording = device.recording(new RunMemory(device));
  recording.compute("gemm", { order: "NT", a, b, y });
  await recording.take().send();
  expect([...new Float32Array((await read(device, y.buffer)).buffer)]).toEqual([4, 2, 0, 0, 10, 5, 0, 0]);
});

test("a device that was closed has no memory", async () => {
  const other = await CpuDevice.open({ threads: 2 });
  other.close();
  expect(() => other.memory.allocate("bytes", 64)).toThrow("bytes: the CPU device was closed");
});
