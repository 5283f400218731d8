import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../device/device.ts";
import { openTestDevice, SMALL_BINDING } from "../../device/testing/open.ts";
import { recordZero } from "../fill.ts";
import type { Derivative, Op, Roles } from "../op.ts";
import { Run } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import { random } from "../testing/case.ts";
import { OPS } from "./index.ts";

const COLS = 1024;
const TOKENS = 4;
const rows = Math.floor(SMALL_BINDING / COLS / 4) + 37;

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice({ limits: "small" });
});
afterAll(() => gpu.close());

function derivativeOf<I extends Roles, A, O extends Roles>(op: Op<I, A, O>): Derivative<I, A, O> {
  const { derivative } = op;
  if (derivative === "constant") throw new Error(`${op.name} has no derivative`);
  return derivative;
}

/** One row of a matrix that may be too large to read back. */
function rowOf({ buffer, pitch }: Tensor, row: number): Promise<Float32Array> {
  const range = { buffer, offset: row * pitch * 4, size: COLS * 4 };
  return gpu.readWith([range], async ([bytes]) => new Float32Array(bytes?.slice().buffer ?? new ArrayBuffer(0)));
}

const uploaded = (run: Run, shape: readonly [number, number], data: Float64Array) =>
  run.upload("operand", shape, Float32Array.from(data));

test("the gradient of an embedding above the binding limit", async () => {
  using run = new Run(gpu);
  const dy = random(TOKENS, COLS).matrix;
  const places = [rows - 1, 0, rows - 1, rows - 40];
  const ids = run.upload("ids", [1, TOKENS], Uint32Array.from(places));
  const table = run.keep(run.allocate("dtable", [rows, COLS]));
  recordZero(run, table);
  const inputs = { ids, table };
  const outputs = { y: table };
  const gradients = { y: uploaded(run, dy.shape, dy.data) };
  derivativeOf(OPS.embedding).backward(run, { inputs, outputs, gradients, into: { table } }, { scale: 2 });
  await run.submit();
  for (const row of [0, 1, rows - 41, rows - 40, rows - 2, rows - 1]) {
    const wanted = new Float64Array(COLS);
    places.forEach((place, t) => {
      if (place === row) wanted.forEach((_, c) => (wanted[c] = (wanted[c] ?? 0) + 2 * (dy.data[t * COLS + c] ?? NaN)));
    });
    const found = await rowOf(table, row);
    expect(found.findIndex((value, c) => Math.abs(value - (wanted[c] ?? NaN)) > 1e-6)).toBe(-1);
  }
  gpu.memory.release(table.buffer);
});

test("the gradient of an output matrix above the binding limit", async () => {
  using run = new Run(gpu);
  const x = random(TOKENS, COLS).matrix;
  const dy = random(TOKENS, 1).matrix;
  const places = [rows - 1, 0, rows - 1, rows - 40];
  const targets = run.upload("targets", [1, TOKENS], Uint32Array.from(places));
  const weight = run.allocate("weight", [rows, COLS]);
  recordZero(run, weight); // all tokens are equally probable
  const inputs = { x: uploaded(run, x.shape, x.data), weight, bias: undefined, targets };
  const outputs = run.apply(OPS.nll, inputs, { softcap: undefined });
  const dweight = run.keep(run.allocate("dweight", [rows, COLS]));
  recordZero(run, dweight);
  const gradients = { y: uploaded(run, dy.shape, dy.data) };
  derivativeOf(OPS.nll).backward(
    run,
    { inputs, outputs, gradients, into: { weight: dweight } },
    { softcap: undefined },
  );
  await run.submit();
  for (const row of [0, 1, rows - 41, rows - 40, rows - 2, rows - 1]) {
    const wanted = Float64Array.from({ length: COLS }, (_, c) =>
      places.reduce((sum, place, t) => {
        const dlogit = (dy.data[t] ?? NaN) * (1 / rows - Number(place === row));
        return sum + dlogit * (x.data[t * COLS + c] ?? NaN);
      }, 0),
    );
    const found = await rowOf(dweight, row);
    const size = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(found.findIndex((value, c) => Math.abs(value - (wanted[c] ?? NaN)) > 1e-4 * size)).toBe(-1);
  }
  gpu.memory.release(dweight.buffer);
});
