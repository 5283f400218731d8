import { afterAll, beforeAll, expect, test } from "bun:test";
import { isBlockDtype, STORED_DTYPES } from "../device/dtype.ts";
import { OPS } from "../tensor/ops/index.ts";
import { Run } from "../tensor/run.ts";
import { place, take } from "../tensor/cases/placed.ts";
import { CpuDevice } from "./cpu.ts";

let device: CpuDevice;
beforeAll(async () => {
  device = await CpuDevice.open({ threads: 2 });
});
afterAll(() => device.close());

/** More than are called few. */
const ROWS = 19;
/** More than are taken at once of any number of rows, an odd number of vectors in the last block; neither are whole fours. */
const [TERMS, COLS] = [4106, 103];
const numbers = (count: number, turn: number) => Float64Array.from({ length: count }, (_, at) => Math.sin(at * turn));

test.each(STORED_DTYPES)("a row times %s is the same in a pass of any number of rows", async (dtype) => {
  const terms = isBlockDtype(dtype) ? 4128 : TERMS;
  const all = numbers(ROWS * terms, 12.9898);
  const weight = place(device, { matrix: { shape: [COLS, terms], data: numbers(COLS * terms, 78.233) }, dtype });
  const product = async (first: number, count: number): Promise<Float64Array> => {
    using run = new Run(device);
    const x = run.upload("x", [count, terms], Float32Array.from(all.subarray(first * terms, (first + count) * terms)));
    const y = run.keep(run.apply(OPS.linear, { x, weight, bias: undefined, residual: undefined }, {}).y);
    await run.submit();
    const { values, paddedWithZeros } = await take(device, y);
    device.memory.release(y.buffer);
    expect(paddedWithZeros).toBeTrue();
    return values;
  };
  const wanted = await product(0, ROWS);
  for (let count = 1; count < ROWS; count++) {
    const first = ROWS - count - 1;
    const found = await product(first, count);
    expect(found).toEqual(wanted.slice(first * COLS, (first + count) * COLS));
  }
  device.memory.release(weight.buffer);
});

test("a pass over nothing is one", async () => {
  using run = new Run(device);
  const x = run.upload("x", [0, 8], new Float32Array());
  const norm = run.upload("norm", [1, 8], new Float32Array(8));
  const weight = run.upload("weight", [4, 8], new Float32Array(32));
  const inputs = { x, norm, weight, bias: undefined, branch: undefined, branchNorm: undefined };
  expect(run.apply(OPS.normedLinear, inputs, { epsilon: 1, offset: 0, gate: undefined }).y.shape).toEqual([0, 4]);
  await run.submit();
  await device.idle();
});
