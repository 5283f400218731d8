import { expect, test } from "bun:test";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { read } from "../../../compute/device/transfer.ts";
import { tensorBytes, tensorIn } from "../../../compute/tensor/tensor.ts";
import { TensorWriter } from "./weights.ts";

test("rows that come in pieces are whole, with zeros behind them whatever was there", async () => {
  using gpu = await openTestDevice();
  const shape = [3, 5] as const;
  const buffer = gpu.memory.allocate("rows", tensorBytes(shape, "F32"));
  gpu.write(buffer, new Float32Array(buffer.size / 4).fill(NaN));
  const values = Float32Array.from({ length: 15 }, (_, at) => at + 1);
  const bytes = new Uint8Array(values.buffer);
  const writer = new TensorWriter(gpu, tensorIn(buffer, shape, "F32"), "F32");
  writer.append(bytes.subarray(0, 22));
  writer.append(bytes.subarray(22, 45));
  expect(() => writer.finish()).toThrow("2 of 3 rows");
  writer.append(bytes.subarray(45));
  writer.finish();
  const found = new Float32Array((await read(gpu, buffer)).buffer);
  const row = (first: number) => [...values.subarray(first, first + 5), 0, 0, 0];
  expect([...found]).toEqual([...row(0), ...row(5), ...row(10)]);
});

test("what the checkpoint stores transposed is turned, wherever its pieces end", async () => {
  using gpu = await openTestDevice();
  // Two matrices, as experts of a layer are.
  const shape = [6, 5] as const;
  const tensor = tensorIn(gpu.memory.allocate("rows", tensorBytes(shape, "F32")), shape, "F32");
  const stored = Float32Array.from({ length: 30 }, (_, at) => at + 1);
  const writer = new TensorWriter(gpu, tensor, "F32", [2, 5, 3]);
  const bytes = new Uint8Array(stored.buffer);
  writer.append(bytes.subarray(0, 22));
  expect(() => writer.finish()).toThrow("0 of 6 rows");
  writer.append(bytes.subarray(22));
  writer.finish();
  const found = new Float32Array((await read(gpu, tensor.buffer)).buffer);
  const row = (first: number) => [...[0, 1, 2, 3, 4].map((col) => first + 1 + 3 * col), 0, 0, 0];
  expect([...found]).toEqual([0, 1, 2, 15, 16, 17].flatMap(row));
});
