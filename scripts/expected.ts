/*
 * `bun scripts/expected.ts`: computes anew what `randlora doctor --verify` holds training and merges to, after a change of the
 * CPU device's kernels that changes their bits, and writes src/measure/doctor/verify/expected.json.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CpuDevice } from "../src/compute/cpu/cpu.ts";
import { CheckedDevice } from "../src/measure/doctor/verify/check.ts";
import type { Measured } from "../src/measure/doctor/verify/messages.ts";
import { trainingChecks } from "../src/measure/doctor/verify/training-checks.ts";
import { availableCodes } from "../src/compute/cpu/native/choose.ts";

const FILE = join(import.meta.dir, "../src/measure/doctor/verify/expected.json");

/** By run, what one code of the CPU device computes. */
async function measure(code: string): Promise<Map<string, Measured>> {
  process.env["RANDLORA_CPU_CODE"] = code;
  using devices = new CheckedDevice(() => CpuDevice.open({}));
  const found = new Map<string, Measured>();
  for (const check of trainingChecks({ choice: "cpu" })) {
    const { measured } = await check.run(devices, new AbortController().signal);
    if (measured !== undefined) found.set(measured.run, measured);
  }
  return found;
}

const fastest = availableCodes().at(-1);
if (fastest === undefined || fastest === "wasm") throw new Error("this machine has no machine code");
const [machine, wasm] = [await measure(fastest), await measure("wasm")];
const expected = [...machine].map(([run, { losses, gradientNorms, adapter, merged }]) => {
  const other = wasm.get(run);
  const digests = { machine: { adapter, merged }, wasm: { adapter: other?.adapter, merged: other?.merged } };
  return [run, { losses, gradientNorms, digests }] as const;
});
await writeFile(FILE, `${JSON.stringify(Object.fromEntries(expected), null, 2)}\n`);
