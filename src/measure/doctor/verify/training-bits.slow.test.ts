import { expect, setDefaultTimeout, test } from "bun:test";
import { CpuDevice } from "../../../compute/cpu/cpu.ts";
import { CheckedDevice } from "./check.ts";
import { broken } from "./testing/broken.ts";
import { trainingChecks } from "./training-checks.ts";

setDefaultTimeout(120_000);

const OPTIONS = { choice: "cpu", threads: 2 };
const signal = new AbortController().signal;

test("a gradient that is a twentieth too large is found, and named", async () => {
  using devices = new CheckedDevice(async () =>
    broken(await CpuDevice.open({ threads: 2 }), (compute, family, operands) => {
      const scale = family === "basisGradient" && "scale" in operands ? operands.scale : undefined;
      compute(family, typeof scale === "number" ? { ...operands, scale: 1.05 * scale } : operands);
    }),
  );
  const [check] = trainingChecks(OPTIONS);
  const { wrong = "" } = (await check?.run(devices, signal)) ?? {};
  expect(wrong).toMatch(/gradient norm of step 1 is/);
});
