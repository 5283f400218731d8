import { expect, setDefaultTimeout, test } from "bun:test";
import { CpuDevice } from "../../../compute/cpu/cpu.ts";
import { FAMILIES } from "../../../compute/cpu/families/index.ts";
import kernelsPath from "../../../compute/cpu/kernels.wasm" with { type: "file" };
import { modulePartsOf } from "../../../compute/cpu/native/kernels/index.ts";
import { ROUTINE_KERNELS } from "../../../compute/cpu/native/kernels/names.ts";
import { ROW_KERNELS } from "../../../compute/rows/index.ts";
import { CheckedDevice } from "./check.ts";
import { opChecks } from "./work.ts";
import { broken } from "./testing/broken.ts";

setDefaultTimeout(120_000);

const signal = new AbortController().signal;

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
  const kernels = [...exported.filter((name) => !(name in parts)), ...ROUTINE_KERNELS];
  const ran = new Set((await cpu.profiler?.report())?.map(({ kernel }) => kernel));
  // Gradients of one input are those of all: the same nodes of the graph.
  const nodesOf = (kernel: string) => Object.values(ROW_KERNELS.get(kernel)?.targets ?? {});
  const computed = new Set([...ran].flatMap(nodesOf));
  const isPart = (kernel: string) => ROW_KERNELS.has(kernel) && nodesOf(kernel).every((node) => computed.has(node));
  expect(kernels.filter((kernel) => !ran.has(kernel) && !isPart(kernel))).toEqual([]);
});
