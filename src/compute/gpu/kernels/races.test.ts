import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { compareCase, isRight } from "../../tensor/cases/compare.ts";
import { visitLargeOps } from "../../tensor/cases/large.ts";
import { type InterpretedGpu, openInterpreted } from "../testing/interpreted.ts";
import { testInterpreted } from "../testing/interpreted-ops.ts";

let interpreted: InterpretedGpu;
beforeAll(() => {
  interpreted = openInterpreted();
});
afterAll(() => interpreted.gpu.close());

// races.slow.test.ts has larger cases, and breaks kernels on purpose.
describe("no kernel races, reads beyond an end or what was never written, or waits where others do not", () => {
  testInterpreted(() => interpreted, 1200);
});

/** Bytes that a binding has: larger matrices are taken in parts. */
const BINDING = 2 ** 14;

visitLargeOps(BINDING, (op, cases) => {
  test.each(cases)(`${op.name}, $name, in parts that a binding holds`, async (trial) => {
    const found = await compareCase(op, trial, interpreted.gpu.binding(BINDING));
    expect(found.filter((one) => !isRight(one))).toEqual([]);
    expect(interpreted.findings).toEqual([]);
  });
});
