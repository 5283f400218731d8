import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { CpuDevice } from "./cpu.ts";
import { availableCodes } from "./native/choose.ts";
import { compareCase, isRight } from "../tensor/cases/compare.ts";
import { visitOps } from "../tensor/cases/every-op.ts";
import { compareFamily, FAMILY_CASES } from "../tensor/cases/families/index.ts";

// The codes of the CPU device that this processor has, beside the fastest, which ops.test.ts and families.test.ts have.
describe.each(availableCodes().slice(0, -1))("%s", (code) => {
  let device: CpuDevice;
  beforeAll(async () => {
    device = await CpuDevice.open({ threads: 2, code });
  });
  afterAll(() => device.close());

  visitOps((op, cases) => {
    test.each(cases)(`${op.name}, $name`, async (trial) => {
      expect((await compareCase(op, trial, device)).filter((one) => !isRight(one))).toEqual([]);
    });
  });

  test.each(FAMILY_CASES.map((one) => [`${one.family}, ${one.format}, ${one.name}`, one] as const))(
    "%s",
    async (_, one) => {
      expect((await compareFamily(one, device)).filter((comparison) => !isRight(comparison))).toEqual([]);
    },
  );
});
