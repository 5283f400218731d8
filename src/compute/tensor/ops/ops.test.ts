import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Device } from "../../device/device.ts";
import { isBlockDtype } from "../../device/dtype.ts";
import { BLOCKS_STAGING_NAMES, STAGING_NAMES, Stagings } from "../../device/testing/stagings.ts";
import type { Staging } from "../../device/staging.ts";
import type { Matrix, Op, Roles } from "../op.ts";
import { Run } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import type { OpCase, Operand } from "../testing/case.ts";
import { visitOps } from "../testing/every-op.ts";
import { entries, mapped, place, relativeError, take } from "../testing/placed.ts";
import { DOUBLED_CASES, doubled } from "../testing/template-op.ts";
import { OPS } from "./index.ts";

const stagings = new Stagings();
beforeAll(() => stagings.open());
afterAll(() => stagings.close());

/** Milliseconds: on a software GPU with an empty shader cache a kernel takes seconds to compile. */
const COMPILE_TIMEOUT = 120_000;

/** Its results go to the CPU: no kernel sums over the padding. */
const UNPADDED = new Set([OPS.topK.name]);

/** Runs a case on a device and in f64; the largest difference must be below 1e-4 of the largest value. */
async function check<I extends Roles, A, O extends Roles>(
  op: Op<I, A, O>,
  { inputs, attributes }: OpCase<I, A>,
  [gpu, staging]: readonly [Device, Staging],
): Promise<void> {
  const wanted = op.reference(
    mapped<I, Operand, Matrix>(inputs, ({ matrix }) => matrix),
    attributes,
  );
  const placed = mapped<I, Operand, Tensor>(inputs, (operand) => place(gpu, operand));
  using run = new Run(gpu, staging);
  // Stale memory must not show: the pool's buffers are full of NaN.
  for (const [, { shape }] of entries<O, Matrix>(wanted)) {
    const stale = run.allocate("stale", shape);
    gpu.write(stale.buffer, new Uint32Array(stale.buffer.size / 4).fill(0x7fc00000));
    run.release(stale);
  }
  const outputs = run.apply(op, placed, attributes);
  for (const [, output] of entries<O, Tensor>(outputs)) run.keep(output);
  await run.submit();
  for (const [name, want] of entries<O, Matrix>(wanted)) {
    const output = entries<O, Tensor>(outputs).find(([key]) => key === name)?.[1];
    if (output === undefined) throw new Error(`no output ${name}`);
    const { values, paddedWithZeros } = await take(gpu, output);
    expect(output.shape).toEqual(want.shape);
    expect(relativeError(values, want.data), `${op.name}: ${name}`).toBeLessThanOrEqual(1e-4);
    expect(paddedWithZeros || UNPADDED.has(op.name)).toBe(true);
    gpu.memory.release(output.buffer);
  }
  for (const [, tensor] of entries<I, Tensor>(placed)) gpu.memory.release(tensor.buffer);
}

const tried = new Set<string>();

/** The cases of one op as tests. */
function tryAll<I extends Roles, A, O extends Roles>(op: Op<I, A, O>, cases: readonly OpCase<I, A>[]): void {
  tried.add(op.name);
  describe(op.name, () => {
    test("has cases", () => expect(cases.length).toBeGreaterThan(0));
    for (const trial of cases) {
      const inBlocks = entries<I, Operand>(trial.inputs).some(([, { dtype }]) => isBlockDtype(dtype));
      for (const name of inBlocks ? BLOCKS_STAGING_NAMES : STAGING_NAMES) {
        test(`${trial.name}, ${name}`, () => check(op, trial, stagings.get(name)), COMPILE_TIMEOUT);
      }
    }
  });
}

visitOps(tryAll);
// The template that CONTRIBUTING.md names.
tryAll(doubled, DOUBLED_CASES);

test.each(STAGING_NAMES)("the soft cap makes no number of NaN, alone or within the loss, %s", async (name) => {
  const [gpu, staging] = stagings.get(name);
  const values = Float32Array.from({ length: 12 }, (_, at) => (at === 9 ? NaN : at));
  using run = new Run(gpu, staging);
  const x = run.upload("x", [2, 6], values);
  const y = run.keep(run.apply(OPS.softcap, { x }, { cap: 30 }).y);
  const weight = run.upload("weight", [9, 6], new Float32Array(54).fill(1));
  const targets = run.upload("targets", [1, 2], Uint32Array.of(1, 2));
  const loss = run.keep(run.apply(OPS.nll, { x, weight, bias: undefined, targets }, { softcap: 30 }).y);
  await run.submit();
  expect([...(await take(gpu, y)).values].map(Number.isNaN).indexOf(true)).toBe(9);
  expect([...(await take(gpu, loss)).values].map(Number.isNaN)).toEqual([false, true]);
  for (const { buffer } of [y, loss]) gpu.memory.release(buffer);
});

test.each(STAGING_NAMES)("the soft cap of attention makes no number of NaN, nor do its gradients, %s", async (name) => {
  const [gpu, staging] = stagings.get(name);
  const values = Float32Array.from({ length: 3 * 16 }, (_, at) => Math.sin(at));
  const broken = values.map((value, at) => (at === 21 ? NaN : value));
  using run = new Run(gpu, staging);
  const [q, keys] = [run.upload("q", [3, 16], broken), run.upload("keys", [3, 16], values)];
  const inputs = { q, keys, values: keys, first: undefined, last: undefined };
  const attributes = { headSize: 16, firstPosition: 0, window: Infinity, softcap: 20, lse: true, scale: 0.25 };
  const outputs = run.apply(OPS.attention, inputs, attributes);
  const into = { q: run.keep(run.allocate("dq", [3, 16])) };
  const { derivative } = OPS.attention;
  const gradients = { y: run.upload("dy", [3, 16], values) };
  if (derivative !== "constant") derivative.backward(run, { inputs, outputs, gradients, into }, attributes);
  run.keep(outputs.y);
  await run.submit();
  for (const tensor of [outputs.y, into.q]) {
    const isNumber = [...(await take(gpu, tensor)).values].map((value) => !Number.isNaN(value));
    expect([0, 16, 32].map((at) => isNumber.slice(at, at + 16))).toEqual(
      [true, false, true].map((is) => Array(16).fill(is)),
    );
    gpu.memory.release(tensor.buffer);
  }
});

test("every op of the registry is tried", () => {
  expect([...tried].toSorted()).toEqual([...Object.values(OPS), doubled].map(({ name }) => name).toSorted());
});
