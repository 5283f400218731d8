import { expect, setDefaultTimeout, test } from "bun:test";
import { CpuDevice } from "../../../compute/cpu/cpu.ts";
import { CheckedDevice } from "./check.ts";
import { broken } from "./testing/broken.ts";
import { trainingChecks } from "./training-checks.ts";

setDefaultTimeout(120_000);

const OPTIONS = { choice: "cpu", threads: 2 };
const signal = new AbortController().signal;

// After a change of kernels that is meant to change their bits: `bun scripts/expected.ts`. training-checks.slow.test.ts has the other runs and codes.
test("a run of RandLoRA and its merge have the bits that are stored", async () => {
  using devices = new CheckedDevice(() => CpuDevice.open({ threads: 2 }));
  const [check] = trainingChecks(OPTIONS);
  expect(await check?.run(devices, signal)).toMatchObject({ wrong: undefined });
});

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
