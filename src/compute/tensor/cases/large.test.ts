import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../device/device.ts";
import { openTestDevice, SMALL_BINDING } from "../../device/testing/open.ts";
import type { Roles, Op } from "../op.ts";
import type { OpCase } from "./case.ts";
import { compareGradients, compareResults, isRight } from "./compare.ts";
import { visitLargeOps } from "./large.ts";

let device: Device;
beforeAll(async () => {
  device = await openTestDevice({ limits: "small" });
});
afterAll(() => device.close());

function tryAll<I extends Roles, A, O extends Roles>(op: Op<I, A, O>, cases: readonly OpCase<I, A>[]): void {
  for (const trial of cases) {
    test(`${op.name}, ${trial.name}, above the binding limit`, async () => {
      const found = await compareResults(op, trial, device);
      const { derivative } = op;
      if (derivative !== "constant") found.push(...(await compareGradients(op, derivative, trial, device)));
      expect(found.length).toBeGreaterThan(1);
      expect(found.filter((one) => !isRight(one))).toEqual([]);
    }, 120_000);
  }
}

visitLargeOps(SMALL_BINDING, tryAll);
