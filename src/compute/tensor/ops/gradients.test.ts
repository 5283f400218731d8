import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { STAGING_NAMES, Stagings } from "../../device/testing/stagings.ts";
import type { Derivative, Matrix, Of, Op, Roles } from "../op.ts";
import type { OpCase, Operand } from "../cases/case.ts";
import { compareGradients, isRight, lossWeights, matricesOf } from "../cases/compare.ts";
import { visitOps } from "../cases/every-op.ts";
import { entries } from "../cases/placed.ts";
import { DOUBLED_CASES, doubled } from "../testing/template-op.ts";
import { OPS } from "./index.ts";

const stagings = new Stagings();
beforeAll(() => stagings.open());
afterAll(() => stagings.close());

/** Milliseconds: on a software GPU with an empty shader cache a kernel takes seconds to compile. */
const COMPILE_TIMEOUT = 120_000;

/** A weighted sum of the outputs. */
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
  const values = matricesOf<I>(inputs);
  const outputs = op.reference(values, attributes);
  const weights = lossWeights<O>(outputs);
  const matrices = matricesOf<O>(weights);
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
        test(
          `${trial.name}, ${name}`,
          async () => {
            const found = await compareGradients(op, derivative, trial, ...stagings.get(name));
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

test("every op of the registry is tried", () => {
  expect([...tried].toSorted()).toEqual([...Object.values(OPS), doubled].map(({ name }) => name).toSorted());
});
