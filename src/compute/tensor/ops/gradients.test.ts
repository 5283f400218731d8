import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Device } from "../../device/device.ts";
import { STAGING_NAMES, Stagings } from "../../device/testing/stagings.ts";
import type { Staging } from "../../device/staging.ts";
import type { Derivative, Matrix, Of, Op, Roles, Some } from "../op.ts";
import { Run } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import { type OpCase, type Operand, random } from "../testing/case.ts";
import { visitOps } from "../testing/every-op.ts";
import { entries, largestOf, mapped, place, relativeError, take } from "../testing/placed.ts";
import { DOUBLED_CASES, doubled } from "../testing/template-op.ts";
import { OPS } from "./index.ts";

const stagings = new Stagings();
beforeAll(() => stagings.open());
afterAll(() => stagings.close());

/** Milliseconds: on a software GPU with an empty shader cache a kernel takes seconds to compile. */
const COMPILE_TIMEOUT = 120_000;

/** A weighted sum of the outputs is the loss: its derivatives by the outputs are the weights. */
function lossWeights<O extends Roles>(outputs: Of<O, Matrix>): Of<O, Operand> {
  return mapped<O, Matrix, Operand>(outputs, ({ shape }) => random(shape[0], shape[1]));
}

function lossOf<O extends Roles>(outputs: Of<O, Matrix>, weights: Of<O, Operand>): number {
  const byName = new Map(entries<O, Operand>(weights));
  return entries<O, Matrix>(outputs).reduce(
    (sum, [name, { data }]) =>
      data.reduce((total, value, at) => total + value * (byName.get(name)?.matrix.data[at] ?? 0), sum),
    0,
  );
}

/** Up to this many elements of an input are shaken for the finite differences. */
const SHAKEN = 12;

/** The analytic f64 gradient against central differences of the f64 definition. */
function checkReference<I extends Roles, A, O extends Roles>(
  op: Op<I, A, O>,
  derivative: Derivative<I, A, O>,
  { inputs, attributes }: OpCase<I, A>,
): void {
  const values = mapped<I, Operand, Matrix>(inputs, ({ matrix }) => matrix);
  const outputs = op.reference(values, attributes);
  const weights = lossWeights<O>(outputs);
  const matrices = mapped<O, Operand, Matrix>(weights, ({ matrix }) => matrix);
  for (const [name, { shape, data }] of entries<I, Matrix>(derivative.gradient(values, attributes, matrices))) {
    const input = entries<I, Matrix>(values).find(([key]) => key === name)?.[1];
    if (input === undefined) throw new Error(`${op.name}: a gradient of ${name}, which is not there`);
    expect(shape).toEqual(input.shape);
    const size = data.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
    const stride = Math.max(1, Math.floor(data.length / SHAKEN));
    for (let at = 0; at < data.length; at += stride) {
      const shaken = (by: number) => {
        const moved = input.data.slice();
        moved[at] = (moved[at] ?? NaN) + by;
        const all = { ...values, [name]: { shape: input.shape, data: moved } };
        return lossOf<O>(op.reference(all, attributes), weights);
      };
      const difference = (shaken(1e-4) - shaken(-1e-4)) / 2e-4;
      const error = Math.abs((data[at] ?? NaN) - difference) / size;
      expect(error, `${op.name}: ${name}[${at}]`).toBeLessThan(1e-5);
    }
  }
}

/** A device's gradients against the f64 ones; stale memory must not show. */
async function checkDevice<I extends Roles, A, O extends Roles>(
  op: Op<I, A, O>,
  derivative: Derivative<I, A, O>,
  { inputs, attributes }: OpCase<I, A>,
  [gpu, staging]: readonly [Device, Staging],
): Promise<void> {
  const values = mapped<I, Operand, Matrix>(inputs, ({ matrix }) => matrix);
  const weights = lossWeights<O>(op.reference(values, attributes));
  const matrices = mapped<O, Operand, Matrix>(weights, ({ matrix }) => matrix);
  const wanted = derivative.gradient(values, attributes, matrices);
  const placed = mapped<I, Operand, Tensor>(inputs, (operand) => place(gpu, operand));
  const gradients = mapped<O, Operand, Tensor>(weights, (operand) => place(gpu, operand));
  using run = new Run(gpu, staging);
  const outputs = run.apply(op, placed, attributes);
  // What a gradient is added to; the other tensors hold NaN.
  const before = new Map(
    entries<I, Matrix>(wanted)
      .filter(([name]) => derivative.adds?.includes(name))
      .map(([name, { shape }]) => [name, random(...shape)]),
  );
  const into = Object.fromEntries(
    entries<I, Matrix>(wanted).map(([name, { shape }]) => {
      const held = before.get(name);
      if (held !== undefined) return [name, place(gpu, held)];
      const target = run.keep(run.allocate(`gradient of ${name}`, shape));
      gpu.write(target.buffer, new Uint32Array(target.buffer.size / 4).fill(0x7fc00000));
      return [name, target];
    }),
  ) as Some<I, Tensor>; // the keys of `wanted`
  derivative.backward(run, { inputs: placed, outputs, gradients, into }, attributes);
  await run.submit();
  // Where a gradient is zero because terms cancel, it is small compared with the others.
  const least = 1e-2 * Math.max(...entries<I, Matrix>(wanted).map(([, { data }]) => largestOf(data)));
  for (const [name, target] of entries<I, Tensor>(into)) {
    const want = entries<I, Matrix>(wanted).find(([key]) => key === name)?.[1];
    if (want === undefined) throw new Error(`no gradient of ${name}`);
    const found = await take(gpu, target);
    const held = before.get(name)?.matrix.data;
    const values = held === undefined ? found.values : found.values.map((value, at) => value - (held[at] ?? NaN));
    expect(relativeError(values, want.data, least), `${op.name}: gradient of ${name}`).toBeLessThan(2e-4);
    expect(found.paddedWithZeros, `${op.name}: padding of ${name}'s gradient`).toBe(true);
    gpu.memory.release(target.buffer);
  }
  for (const [, { buffer }] of [...entries<I, Tensor>(placed), ...entries<O, Tensor>(gradients)]) {
    gpu.memory.release(buffer);
  }
}

const tried = new Set<string>();

/** The cases of one op as tests. */
function tryAll<I extends Roles, A, O extends Roles>(op: Op<I, A, O>, cases: readonly OpCase<I, A>[]): void {
  tried.add(op.name);
  const { derivative } = op;
  if (derivative === "constant") return;
  describe(op.name, () => {
    for (const trial of cases) {
      if (trial.forwardOnly === true) continue;
      test(
        `${trial.name}: the reference agrees with finite differences`,
        () => checkReference(op, derivative, trial),
        COMPILE_TIMEOUT,
      );
      for (const name of STAGING_NAMES) {
        test(`${trial.name}, ${name}`, () => checkDevice(op, derivative, trial, stagings.get(name)), COMPILE_TIMEOUT);
      }
    }
  });
}

visitOps(tryAll);
// The template that CONTRIBUTING.md names.
tryAll(doubled, DOUBLED_CASES);

test("every op of the registry is tried", () => {
  expect([...tried].toSorted()).toEqual([...Object.values(OPS), doubled].map(({ name }) => name).toSorted());
});
