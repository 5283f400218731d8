import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../device/device.ts";
import { openTestDevice } from "../device/testing/open.ts";
import { addLinear } from "./add-linear.ts";
import type { Matrix } from "./op.ts";
import { OPS } from "./ops/index.ts";
import type { Recorder } from "./recorder.ts";
import { Run } from "./run.ts";
import { Tape } from "./tape.ts";
import { sliceCols, type Tensor } from "./tensor.ts";
import { random } from "./cases/case.ts";
import { place, relativeError, take } from "./cases/placed.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const [IN, RANK, OUT, SCALE] = [12, 3, 21, 0.7] as const;
/** Two modules beside one that nothing is added to. */
const PARTS = [
  { first: 4, count: 8 },
  { first: 12, count: 9 },
] as const;

const none = { bias: undefined, residual: undefined };

/** x, W, and A and B of each part. */
type Operands<T> = readonly [T, T, T, T, T, T];

function compute(recorder: Recorder, [x, weight, ...factors]: Operands<Tensor>): Tensor {
  const { y } = recorder.apply(OPS.linear, { x, weight, ...none }, {});
  for (const [at, { first, count }] of PARTS.entries()) {
    const [a, b] = [factors[at * 2], factors[at * 2 + 1]];
    if (a === undefined || b === undefined) throw new Error("no factors");
    const { y: inner } = recorder.apply(OPS.linear, { x, weight: a, ...none }, {});
    addLinear(recorder, { x: inner, weight: b, scale: SCALE }, sliceCols(y, first, count));
    recorder.release(inner);
  }
  return y;
}

function product(x: Matrix, weight: Matrix): Matrix {
  const [rows, terms] = x.shape;
  const [out] = weight.shape;
  const data = Float64Array.from({ length: rows * out }, (_, at) => {
    let sum = 0;
    const [row, col] = [Math.floor(at / out), at % out];
    for (let k = 0; k < terms; k++) sum += (x.data[row * terms + k] ?? NaN) * (weight.data[col * terms + k] ?? NaN);
    return sum;
  });
  return { shape: [rows, out], data };
}

/** Σ y · weights in f64. */
function loss([x, weight, ...factors]: readonly Matrix[], weights: Matrix): number {
  if (x === undefined || weight === undefined) throw new Error("no operands");
  const y = product(x, weight).data.slice();
  for (const [at, { first, count }] of PARTS.entries()) {
    const [a, b] = [factors[at * 2], factors[at * 2 + 1]];
    if (a === undefined || b === undefined) throw new Error("no factors");
    product(product(x, a), b).data.forEach((value, index) => {
      const to = Math.floor(index / count) * OUT + first + (index % count);
      y[to] = (y[to] ?? NaN) + SCALE * value;
    });
  }
  return y.reduce((sum, value, index) => sum + value * (weights.data[index] ?? NaN), 0);
}

async function check(rows: number, segmented: boolean): Promise<void> {
  const before = gpu.memory.liveBytes;
  const shapes = [
    [rows, IN],
    [OUT, IN],
    ...PARTS.flatMap(({ count }) => [
      [RANK, IN],
      [count, RANK],
    ]),
  ];
  const operands = shapes.map(([r = 0, c = 0]) => random(r, c).matrix);
  const weights = random(rows, OUT).matrix;
  const f32 = (matrix: Matrix) => place(gpu, { matrix, dtype: "F32" });
  const placed = operands.map(f32);
  const gradients = operands.map(({ shape, data }) => f32({ shape, data: new Float64Array(data.length) }));
  const seed = f32(weights);
  {
    using run = new Run(gpu);
    const tape = new Tape(run);
    placed.forEach((tensor, at) => tape.watch(tensor, gradients[at] ?? tensor));
    const all = placed as unknown as Operands<Tensor>; // as many as there are shapes
    const [y] = segmented ? tape.segment([all[0]], (inner) => [compute(inner, all)]) : [compute(tape, all)];
    tape.backward(y, seed);
    tape.release(y);
    await run.submit();
  }
  for (const [index, operand] of operands.entries()) {
    const wanted = operand.data.map((value, at) => {
      const shaken = (by: number) => {
        const moved = { ...operand, data: operand.data.with(at, value + by) };
        return loss(operands.with(index, moved), weights);
      };
      return (shaken(1e-3) - shaken(-1e-3)) / 2e-3;
    });
    const found = await take(gpu, gradients[index] ?? seed);
    expect(relativeError(found.values, wanted), `operand ${index}`).toBeLessThan(1e-5);
  }
  for (const { buffer } of [...placed, ...gradients, seed]) gpu.memory.release(buffer);
  expect(gpu.memory.liveBytes).toBe(before);
}

for (const rows of [3, 19]) {
  for (const segmented of [false, true]) {
    test(`what is added to columns is differentiated as what was there: ${rows} rows${segmented ? ", recorded again" : ""}`, async () => {
      await check(rows, segmented);
    });
  }
}
