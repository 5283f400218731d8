import { afterAll, expect, test } from "bun:test";
import { CpuDevice } from "../../../compute/cpu/cpu.ts";
import { CheckedDevice } from "./check.ts";
import { trainingChecks } from "./training-checks.ts";

const VARIABLE = "RANDLORA_CPU_CODE";
const before = process.env[VARIABLE];
afterAll(() => {
  if (before === undefined) delete process.env[VARIABLE];
  else process.env[VARIABLE] = before;
});

// After a change of kernels that is meant to change their bits: `bun scripts/expected.ts`. Machine code has its turn in
// cmd/binary.slow.test.ts, `doctor --verify`; codes.slow.test.ts holds all of it to the same bits.
test("training and merges have the bits that are stored for WebAssembly", async () => {
  process.env[VARIABLE] = "wasm";
  using devices = new CheckedDevice(() => CpuDevice.open({ threads: 2 }));
  for (const check of trainingChecks({ choice: "cpu", threads: 2 }))
    expect((await check.run(devices, new AbortController().signal)).wrong).toBeUndefined();
}, 300_000);
