import { afterAll, expect, setDefaultTimeout, spyOn, test } from "bun:test";
import { CpuDevice } from "../../../compute/cpu/cpu.ts";
import { FAMILIES } from "../../../compute/cpu/families/index.ts";
import { TERNARY_CODES } from "../../../compute/cpu/families/ternary-codes.ts";
import kernelsPath from "../../../compute/cpu/kernels.wasm" with { type: "file" };
import { chooseCode } from "../../../compute/cpu/native/choose.ts";
import { modulePartsOf } from "../../../compute/cpu/native/kernels/index.ts";
import { FMA_KERNELS } from "../../../compute/cpu/native/kernels/names.ts";
import { PipelineCache } from "../../../compute/gpu/pipelines.ts";
import { everyKernel } from "../../../compute/gpu/testing/every-kernel.ts";
import { openInterpreted } from "../../../compute/gpu/testing/interpreted.ts";
import { CheckedDevice } from "./check.ts";
import { opChecks } from "./op-checks.ts";
import { broken } from "./testing/broken.ts";
import { trainingChecks } from "./training-checks.ts";

setDefaultTimeout(120_000);

const signal = new AbortController().signal;
const compiled = spyOn(PipelineCache.prototype, "get");
afterAll(() => compiled.mockRestore());

test("every family and every kernel of the CPU device has a check of its own, and is right", async () => {
  const families = new Set<string>();
  const cpu = await CpuDevice.open({ threads: 2, profile: true });
  using devices = new CheckedDevice(async () =>
    broken(cpu, (compute, family, operands) => {
      families.add(family);
      compute(family, operands);
    }),
  );
  for (const check of opChecks()) expect((await check.run(devices, signal)).wrong, check.op).toBeUndefined();
  expect(Object.keys(FAMILIES).filter((family) => !families.has(family))).toEqual([]);

  const module = await WebAssembly.compile(await Bun.file(kernelsPath).arrayBuffer());
  const exported = WebAssembly.Module.exports(module).flatMap(({ kind, name }) => (kind === "function" ? [name] : []));
  const parts = modulePartsOf(Object.fromEntries(exported.map((name) => [name, () => {}])));
  // WebAssembly alone has no use for kernels of machine code, nor for what prepares codes for these.
  const hasMachineCode = chooseCode(undefined).native !== undefined;
  const ofModule = exported.filter((name) => !(name in parts) && (hasMachineCode || name !== TERNARY_CODES.name));
  const kernels = hasMachineCode ? [...ofModule, ...FMA_KERNELS] : ofModule;
  const ran = new Set((await cpu.profiler?.report())?.map(({ kernel }) => kernel));
  expect(kernels.filter((kernel) => !ran.has(kernel))).toEqual([]);
});

test("a GPU kernel that training takes, of whatever method, has a check of its own", async () => {
  const checked = new Set(everyKernel().map(({ key }) => key));
  compiled.mockClear();
  const { gpu } = openInterpreted();
  // It computes nothing: what is found is not looked at.
  using devices = new CheckedDevice(async () => gpu.counting());
  for (const check of trainingChecks({ choice: "cpu" })) await check.run(devices, signal);
  const taken = new Set(compiled.mock.calls.map(([{ key }]) => key));
  expect(taken.size).toBeGreaterThan(20);
  expect([...taken].filter((key) => !checked.has(key))).toEqual([]);
  gpu.close();
});
