import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../device/device.ts";
import { openTestDevice } from "../device/testing/open.ts";
import { addGroupedLinear } from "./add-grouped-linear.ts";
import { random } from "./cases/case.ts";
import { place, relativeError, take } from "./cases/placed.ts";
import { OPS } from "./ops/index.ts";
import { Run } from "./run.ts";
import { Tape } from "./tape.ts";
import { sliceCols } from "./tensor.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const [IN, OUT, FIRST, COUNT] = [12, 20, 8, 8] as const;
/** Rows of each group: one has none. */
const BEGINS = [0, 3, 3, 10] as const;
const ROWS = 10;
const groupOf = (row: number) => BEGINS.findLastIndex((begin) => row >= begin);

test("what is added to columns of groups' products is differentiated as what was there", async () => {
  const before = gpu.memory.liveBytes;
  const [x, weight, added, seed] = [random(ROWS, IN), random(3 * OUT, IN), random(3 * COUNT, IN), random(ROWS, OUT)];
  const operands = [x, weight, added] as const;
  const placed = operands.map((operand) => place(gpu, operand));
  const gradients = operands.map(({ dtype, matrix: { shape, data } }) =>
    place(gpu, { dtype, matrix: { shape, data: new Float64Array(data.length) } }),
  );
  const dy = place(gpu, seed);
  const [ofX = dy, ofWeight = dy, ofAdded = dy] = placed;
  const value = async () => {
    using run = new Run(gpu);
    const tape = new Tape(run);
    placed.forEach((tensor, at) => tape.watch(tensor, gradients[at] ?? tensor));
    const begins = run.upload("begins", [1, BEGINS.length], Uint32Array.from(BEGINS));
    const { y } = tape.apply(OPS.groupedLinear, { x: ofX, weight: ofWeight, begins }, {});
    addGroupedLinear(tape, { x: ofX, weight: ofAdded, begins }, sliceCols(y, FIRST, COUNT));
    const kept = run.keep(y);
    tape.backward(y, dy);
    await run.submit();
    const { values } = await take(gpu, kept);
    gpu.memory.release(kept.buffer);
    return values;
  };
  const found = await value();

  const wanted = {
    y: new Float64Array(ROWS * OUT),
    x: [...Array(ROWS * IN).fill(0)],
    weight: [...Array(3 * OUT * IN).fill(0)],
    added: [...Array(3 * COUNT * IN).fill(0)],
  };
  const inData = (data: Float64Array, at: number) => data[at] ?? NaN;
  for (let row = 0; row < ROWS; row++) {
    for (let col = 0; col < OUT; col++) {
      const slope = inData(seed.matrix.data, row * OUT + col);
      const isAdded = col >= FIRST && col < FIRST + COUNT;
      for (let k = 0; k < IN; k++) {
        const [inX, inWeight] = [row * IN + k, (groupOf(row) * OUT + col) * IN + k];
        const inAdded = (groupOf(row) * COUNT + col - FIRST) * IN + k;
        const factor = inData(weight.matrix.data, inWeight) + (isAdded ? inData(added.matrix.data, inAdded) : 0);
        wanted.y[row * OUT + col] = inData(wanted.y, row * OUT + col) + inData(x.matrix.data, inX) * factor;
        wanted.x[inX] += slope * factor;
        wanted.weight[inWeight] += slope * inData(x.matrix.data, inX);
        if (isAdded) wanted.added[inAdded] += slope * inData(x.matrix.data, inX);
      }
    }
  }
  expect(relativeError(found, wanted.y)).toBeLessThan(1e-6);
  for (const [at, values] of [wanted.x, wanted.weight, wanted.added].entries()) {
    const { values: gradient } = await take(gpu, gradients[at] ?? dy);
    expect(relativeError(gradient, Float64Array.from(values)), `operand ${at}`).toBeLessThan(1e-5);
  }
  for (const { buffer } of [...placed, ...gradients, dy]) gpu.memory.release(buffer);
  expect(gpu.memory.liveBytes).toBe(before);
});
