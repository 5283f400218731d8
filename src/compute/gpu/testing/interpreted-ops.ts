import { expect, test } from "bun:test";
import type { Staging } from "../../device/staging.ts";
import type { Op, Roles } from "../../tensor/op.ts";
import type { OpCase, Operand } from "../../tensor/cases/case.ts";
import { compareCase, type Comparison, isRight } from "../../tensor/cases/compare.ts";
import { visitOps } from "../../tensor/cases/every-op.ts";
import { compareFamily, FAMILY_CASES } from "../../tensor/cases/families/index.ts";
import { entries } from "../../tensor/cases/placed.ts";
import type { Gpu } from "../gpu.ts";
import type { InterpretedGpu } from "./interpreted.ts";

const STAGINGS: readonly Staging[] = [{ kind: "workgroup" }, { kind: "workgroup", integerDots: true }];

/**
 * Tests of every op on its cases, forwards and backwards, and of every family: nothing may be found in their kernels, and the numbers
 * are right.
 * @param open gives the interpreted GPU once tests run
 * @param most elements that the operands of an op's case have: larger ones take long to interpret
 */
export function testInterpreted(open: () => InterpretedGpu, most: number): void {
  /** Runs what computes: nothing is found meanwhile. */
  const expectNothing = async (compute: (gpu: Gpu) => Promise<readonly Comparison[]>, name: string) => {
    const { gpu, findings } = open();
    const before = findings.length;
    const wrong = (await compute(gpu)).filter((one) => !isRight(one));
    expect([name, wrong, findings.slice(before)]).toEqual([name, [], []]);
  };

  visitOps(<I extends Roles, A, O extends Roles>(op: Op<I, A, O>, all: readonly OpCase<I, A>[]) => {
    const cases = all.filter(({ inputs }) => {
      return entries<I, Operand>(inputs).reduce((sum, [, { matrix }]) => sum + matrix.data.length, 0) <= most;
    });
    test(`${op.name}, forwards and backwards`, async () => {
      for (const trial of cases) {
        const isStored = entries<I, Operand>(trial.inputs).some(([, { dtype }]) => dtype.includes("Q"));
        for (const staging of isStored ? STAGINGS : STAGINGS.slice(0, 1)) {
          await expectNothing((gpu) => compareCase(op, trial, gpu, staging), trial.name);
        }
      }
    }, 120_000);
  });

  test.each(FAMILY_CASES.map((one) => [one.family, one.format, one.name, one] as const))(
    "%s, %s, %s",
    async (family, _, __, one) => expectNothing((gpu) => compareFamily(one, gpu), family),
  );
}
