import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { isBlockDtype } from "../../device/dtype.ts";
import { IS_GPU, SMALL_BINDING } from "../../device/testing/open.ts";
import { BLOCKS_STAGING_NAMES, STAGING_NAMES, Stagings } from "../../device/testing/stagings.ts";
import { Gpu } from "../../gpu/gpu.ts";
import type { Matrix, Op, Roles } from "../op.ts";
import { Run } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import type { OpCase, Operand } from "../cases/case.ts";
import { compareCase, isRight, matricesOf, referenceOf } from "../cases/compare.ts";
import { visitOps } from "../cases/every-op.ts";
import { visitLargeOps } from "../cases/large.ts";
import { entries, take } from "../cases/placed.ts";
import { DOUBLED_CASES, doubled } from "../testing/template-op.ts";
import { OPS } from "./index.ts";

const stagings = new Stagings();
beforeAll(() => stagings.open());
afterAll(() => stagings.close());

/** Milliseconds: on a software GPU with an empty shader cache a kernel takes seconds to compile. */
const COMPILE_TIMEOUT = 120_000;

/** How far every element of an input is moved. */
const STEP = 1e-6;

/** The f64 gradients against central differences of the f64 definition, in directions that move every element of an input. */
function checkReference<I extends Roles, A, O extends Roles>(op: Op<I, A, O>, trial: OpCase<I, A>): void {
  const { weights, gradients } = referenceOf(op, trial);
  const values = matricesOf<I>(trial.inputs);
  const factors = new Map(entries<O, Operand>(weights));
  const lossOf = (name: string, moved: Matrix) =>
    entries<O, Matrix>(op.reference({ ...values, [name]: moved }, trial.attributes)).reduce(
      (all, [output, { data }]) =>
        data.reduce((sum, value, at) => sum + value * (factors.get(output)?.matrix.data[at] ?? NaN), all),
      0,
    );
  for (const [name, { shape, data }] of entries<I, Matrix>(gradients)) {
    const input = entries<I, Matrix>(values).find(([key]) => key === name)?.[1];
    if (input === undefined) throw new Error(`${op.name}: a gradient of ${name}, which is not there`);
    expect(shape).toEqual(input.shape);
    for (const turn of [1, 2]) {
      // Neither is near zero anywhere, so that each element counts.
      const direction = data.map(
        (_, at) => (Math.imul(at + turn, 0x9e3779b1) < 0 ? -1 : 1) * (1 + ((at * turn) % 7) / 7),
      );
      const moved = (by: number): Matrix => ({
        shape,
        data: input.data.map((value, at) => value + by * (direction[at] ?? NaN)),
      });
      const difference = (lossOf(name, moved(STEP)) - lossOf(name, moved(-STEP))) / (2 * STEP);
      const slopes = data.map((value, at) => value * (direction[at] ?? NaN));
      const size = Math.max(1e-3, Math.hypot(...slopes));
      const error = Math.abs(slopes.reduce((sum, slope) => sum + slope, 0) - difference) / size;
      expect(error, `${op.name}: ${name}`).toBeLessThan(1e-5);
    }
  }
}

const tried = new Set<string>();

/** The cases of one op as tests: forwards and backwards. */
function tryAll<I extends Roles, A, O extends Roles>(op: Op<I, A, O>, cases: readonly OpCase<I, A>[]): void {
  tried.add(op.name);
  describe(op.name, () => {
    test("has cases", () => expect(cases.length).toBeGreaterThan(0));
    for (const trial of cases) {
      // No device has a part in that.
      if (!IS_GPU && op.derivative !== "constant" && trial.forwardOnly !== true)
        test(`${trial.name}: the gradients in f64 are the slopes`, () => checkReference(op, trial), COMPILE_TIMEOUT);
      const inBlocks = entries<I, Operand>(trial.inputs).some(([, { dtype }]) => isBlockDtype(dtype));
      for (const name of inBlocks ? BLOCKS_STAGING_NAMES : STAGING_NAMES) {
        test(
          `${trial.name}, ${name}`,
          async () => {
            const found = await compareCase(op, trial, ...stagings.get(name));
            expect(found.length).toBeGreaterThan(0);
            expect(found.filter((one) => !isRight(one))).toEqual([]);
          },
          COMPILE_TIMEOUT,
        );
      }
    }
  });
}

visitOps(tryAll);
// The template that CONTRIBUTING.md names.
tryAll(doubled, DOUBLED_CASES);

// The CPU device has no such limit, and races.test.ts has an interpreted GPU.
if (IS_GPU) {
  visitLargeOps(SMALL_BINDING, (op, cases) => {
    test.each(cases)(
      `${op.name}, $name, above the binding limit`,
      async (trial) => {
        const [device] = stagings.get("workgroup staging");
        if (!(device instanceof Gpu)) throw new TypeError("no GPU");
        const found = await compareCase(op, trial, device.binding(SMALL_BINDING));
        expect(found.filter((one) => !isRight(one))).toEqual([]);
      },
      COMPILE_TIMEOUT,
    );
  });
}

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
  const inputs = { q, keys, values: keys, first: undefined, last: undefined, sinks: undefined };
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

test.each(STAGING_NAMES)("a sink below every score changes nothing, one above all leaves nothing, %s", async (name) => {
  const [gpu, staging] = stagings.get(name);
  const values = Float32Array.from({ length: 3 * 16 }, (_, at) => Math.sin(at));
  using run = new Run(gpu, staging);
  const [q, keys] = [run.upload("q", [3, 16], values), run.upload("keys", [3, 16], values)];
  const attributes = { headSize: 8, firstPosition: 0, window: Infinity, softcap: undefined, lse: true, scale: 0.25 };
  const kept = [
    run.upload("none", [1, 2], Float32Array.of(-3e38, -3e38)),
    run.upload("sinks", [1, 2], Float32Array.of(-3e38, 3e38)),
  ].map((sinks) => {
    const inputs = { q, keys, values: keys, first: undefined, last: undefined, sinks };
    const outputs = run.apply(OPS.attention, inputs, attributes);
    const into = { q: run.allocate("dq", [3, 16]), sinks: run.allocate("dsinks", [1, 2]) };
    const { derivative } = OPS.attention;
    const gradients = { y: run.upload("dy", [3, 16], values) };
    if (derivative !== "constant") derivative.backward(run, { inputs, outputs, gradients, into }, attributes);
    return [outputs.y, into.q, into.sinks].map((tensor) => run.keep(tensor));
  });
  const without = run.keep(
    run.apply(OPS.attention, { q, keys, values: keys, first: undefined, last: undefined, sinks: undefined }, attributes)
      .y,
  );
  await run.submit();
  const [below, mixed] = await Promise.all(
    kept.map((all) => Promise.all(all.map(async (one) => (await take(gpu, one)).values))),
  );
  const all = (await take(gpu, without)).values;
  const [y, dq, dsinks] = below ?? [];
  expect(y?.every((value, at) => Math.abs(value - (all[at] ?? NaN)) < 1e-6)).toBe(true);
  expect([...(dsinks ?? [])].map(Math.abs)).toEqual([0, 0]);
  // The second head has a sink above all.
  const second = (_: number, at: number) => at % 16 >= 8;
  const isFirst = (_: number, at: number) => at % 16 < 8;
  expect(mixed?.map((one) => [...one].every(Number.isFinite))).toEqual([true, true, true]);
  expect(mixed?.[0]?.filter(second).map(Math.abs)).toEqual(new Float64Array(24));
  expect(mixed?.[1]?.filter(second).map(Math.abs)).toEqual(new Float64Array(24));
  expect(mixed?.[0]?.filter(isFirst)).toEqual(y?.filter(isFirst) ?? new Float64Array());
  expect(mixed?.[1]?.filter(isFirst)).toEqual(dq?.filter(isFirst) ?? new Float64Array());
  for (const { buffer } of [...kept.flat(), without]) gpu.memory.release(buffer);
});

test.each(STAGING_NAMES)(
  "the clamped gate has gradients up to its limits and at them, as torch's clamp, %s",
  async (name) => {
    const [gpu, staging] = stagings.get(name);
    const over = 7 + 2 ** -21;
    const [gate, up] = [Float32Array.of(7, over, 1, 1, 1, 1, -90), Float32Array.of(1, 1, 7, -7, over, -over, 1)];
    using run = new Run(gpu, staging);
    const inputs = { gate: run.upload("gate", [1, 7], gate), up: run.upload("up", [1, 7], up) };
    const outputs = run.apply(OPS.clampedGate, inputs, { limit: 7 });
    const into = { gate: run.keep(run.allocate("dgate", [1, 7])), up: run.keep(run.allocate("dup", [1, 7])) };
    const gradients = { y: run.upload("dy", [1, 7], new Float32Array(7).fill(1)) };
    const { derivative } = OPS.clampedGate;
    if (derivative !== "constant") derivative.backward(run, { inputs, outputs, gradients, into }, { limit: 7 });
    await run.submit();
    const isSome = async (tensor: Tensor) => [...(await take(gpu, tensor)).values].map((value) => value !== 0);
    // Where up is −7, its factor 1 + up is −6.
    expect((await isSome(into.gate)).slice(0, 6)).toEqual([true, false, true, true, true, true]);
    expect((await isSome(into.up)).slice(0, 6)).toEqual([true, true, true, true, false, false]);
    expect([...(await take(gpu, into.gate)).values].every(Number.isFinite)).toBe(true);
    for (const { buffer } of Object.values(into)) gpu.memory.release(buffer);
  },
);

test("every op of the registry is tried", () => {
  expect([...tried].toSorted()).toEqual([...Object.values(OPS), doubled].map(({ name }) => name).toSorted());
});
