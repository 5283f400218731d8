import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { CpuDevice } from "../../../compute/cpu/cpu.ts";
import { availableCodes } from "../../../compute/cpu/native/choose.ts";
import { CheckedDevice } from "./check.ts";
import { trainingChecks } from "./training-checks.ts";

setDefaultTimeout(300_000);

const VARIABLE = "RANDLORA_CPU_CODE";
const before = process.env[VARIABLE];
afterAll(() => {
  if (before === undefined) delete process.env[VARIABLE];
  else process.env[VARIABLE] = before;
});

const signal = new AbortController().signal;

// After a change of kernels that is meant to change their bits: `bun scripts/expected.ts`. The fastest code has its turn in
// cmd/binary.slow.test.ts: `doctor --verify`.
test.each(availableCodes().slice(0, Math.max(1, availableCodes().length - 1)))(
  "training and merges have the bits that are stored: %s",
  async (code) => {
    process.env[VARIABLE] = code;
    using devices = new CheckedDevice(() => CpuDevice.open({ threads: 2 }));
    for (const check of trainingChecks({ choice: "cpu", threads: 2 }))
      expect((await check.run(devices, signal)).wrong).toBeUndefined();
  },
);
