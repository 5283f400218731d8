import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { isBlockDtype } from "../../device/dtype.ts";
import { BLOCKS_STAGING_NAMES, STAGING_NAMES, Stagings } from "../../device/testing/stagings.ts";
import type { Op, Roles } from "../op.ts";
import { Run } from "../run.ts";
import type { OpCase, Operand } from "../cases/case.ts";
import { compareResults, isRight } from "../cases/compare.ts";
import { visitOps } from "../cases/every-op.ts";
import { entries, take } from "../cases/placed.ts";
import { DOUBLED_CASES, doubled } from "../testing/template-op.ts";
import { OPS } from "./index.ts";

const stagings = new Stagings();
beforeAll(() => stagings.open());
afterAll(() => stagings.close());

/** Milliseconds: on a software GPU with an empty shader cache a kernel takes seconds to compile. */
const COMPILE_TIMEOUT = 120_000;

const tried = new Set<string>();

/** The cases of one op as tests. */
function tryAll<I extends Roles, A, O extends Roles>(op: Op<I, A, O>, cases: readonly OpCase<I, A>[]): void {
  tried.add(op.name);
  describe(op.name, () => {
    test("has cases", () => expect(cases.length).toBeGreaterThan(0));
    for (const trial of cases) {
      const inBlocks = entries<I, Operand>(trial.inputs).some(([, { dtype }]) => isBlockDtype(dtype));
      for (const name of inBlocks ? BLOCKS_STAGING_NAMES : STAGING_NAMES) {
        test(
          `${trial.name}, ${name}`,
          async () => {
            const found = await compareResults(op, trial, ...stagings.get(name));
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

test("every op of the registry is tried", () => {
  expect([...tried].toSorted()).toEqual([...Object.values(OPS), doubled].map(({ name }) => name).toSorted());
});
