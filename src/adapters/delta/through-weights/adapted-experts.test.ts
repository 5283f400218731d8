// Products with experts' W', some experts at a time, against sums in f64.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { recordCopy } from "../../../compute/tensor/elementwise.ts";
import { readRows } from "../../../compute/tensor/read-rows.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { Tape } from "../../../compute/tensor/tape.ts";
import { sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import { recordAdaptedExperts } from "./adapted-linear.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const [EXPERTS, OUT, IN] = [5, 12, 8];
/** The adapted module has these columns of each expert's product. */
const [COLUMN, ROWS] = [4, 8];
const BEGINS = [0, 2, 2, 5, 8, 9];
const TOKENS = 9;
const numbers = (count: number, salt: number) =>
  Float32Array.from({ length: count }, (_, at) => Math.sin(at * 1.3 + salt));
const [X, W, DY] = [numbers(TOKENS * IN, 1), numbers(EXPERTS * OUT * IN, 2), numbers(TOKENS * OUT, 3)];
const expertOf = (row: number) => BEGINS.findLastIndex((begin) => begin <= row);

const sum = (count: number, term: (at: number) => number) => {
  let total = 0;
  for (let at = 0; at < count; at++) total += term(at);
  return total;
};

function wanted() {
  const w = (row: number, out: number, col: number) => itemAt(W, (expertOf(row) * OUT + out) * IN + col);
  const y = DY.map((_, at) => {
    const row = Math.floor(at / OUT);
    return sum(IN, (col) => itemAt(X, row * IN + col) * w(row, at % OUT, col));
  });
  const dx = X.map((_, at) => {
    const row = Math.floor(at / IN);
    return sum(OUT, (out) => itemAt(DY, row * OUT + out) * w(row, out, at % IN));
  });
  const g = Float32Array.from({ length: EXPERTS * ROWS * IN }, (_, at) => {
    const [module, out, col] = [Math.floor(at / ROWS / IN), Math.floor(at / IN) % ROWS, at % IN];
    const own = (row: number) => (expertOf(row) === module ? 1 : 0);
    return sum(TOKENS, (row) => own(row) * itemAt(DY, row * OUT + COLUMN + out) * itemAt(X, row * IN + col));
  });
  return { y, dx, g };
}

test.each([
  [1, true],
  [2, true],
  [2, false],
  [EXPERTS, false],
])("%i experts at a time; G is (out, in): %p", async (atOnce, tall) => {
  using run = new Run(gpu);
  const place = (shape: readonly [number, number], data: Float32Array<ArrayBuffer>) => run.upload("t", shape, data);
  const x = place([TOKENS, IN], X);
  const weight = place([EXPERTS * OUT, IN], W);
  const begins = run.upload("begins", [1, EXPERTS + 1], Uint32Array.from(BEGINS));
  const shape = tall ? ([EXPERTS * ROWS, IN] as const) : ([EXPERTS * IN, ROWS] as const);
  const each = shape[0] / EXPERTS;
  const gradients = place([...shape], new Float32Array(shape[0] * shape[1]));
  const parts = Array.from({ length: EXPERTS }, (_, expert) => ({
    first: expert * OUT + COLUMN,
    delta: undefined,
    product: undefined,
    module: {
      name: `${expert}`,
      weight,
      index: expert,
      shape: { out: ROWS, in: IN, tall },
      form: () => {},
      fold: (to: Run, g: Tensor) => {
        recordCopy(to, g, sliceRows(gradients, expert * each, each));
      },
    },
  }));
  const scratch = run.allocate("G", [atOnce * each, shape[1]]);
  const tape = new Tape(run);
  const dx = place([TOKENS, IN], new Float32Array(TOKENS * IN));
  tape.watch(x, dx);
  const y = recordAdaptedExperts(
    tape,
    { x, begins },
    { weight, parts },
    {
      atOnce,
      merged: (_, first, rows) => sliceRows(weight, first, rows),
      gradient: (of) => ({ ...scratch, shape: of }),
    },
  );
  const kept = run.allocate("y", y.shape);
  recordCopy(run, y, kept);
  tape.backward(y, place([TOKENS, OUT], DY));
  for (const tensor of [kept, dx, gradients]) run.keep(tensor);
  await run.submit();
  const { y: ofY, dx: ofX, g } = wanted();
  const taken = async (tensor: Tensor) => await readRows(gpu, tensor, 0, tensor.shape[0]);
  const near = (found: Float32Array, values: Float32Array) => {
    expect(found.length).toBe(values.length);
    values.forEach((value, at) => expect(Math.abs(itemAt(found, at) - value)).toBeLessThan(1e-5));
  };
  near(await taken(kept), ofY);
  near(await taken(dx), ofX);
  const found = await taken(gradients);
  near(
    tall
      ? found
      : g.map((_, at) => {
          const [module, out, col] = [Math.floor(at / ROWS / IN), Math.floor(at / IN) % ROWS, at % IN];
          return itemAt(found, (module * IN + col) * ROWS + out);
        }),
    g,
  );
  for (const tensor of [kept, dx, gradients]) gpu.memory.release(tensor.buffer);
});
