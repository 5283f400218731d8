import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { runToEnd } from "../../../files/testing/process.ts";
import { ATTENTION } from "../families/attention.ts";
import { GEMM } from "../families/gemm.ts";
import { NORMED_GEMM } from "../families/normed-linear.ts";
import modulePath from "../kernels.wasm" with { type: "file" };
import { sharedCode } from "./choose.ts";
import { DTYPE_CODES } from "../../device/dtype.ts";
import { nativeCode, shareCode } from "./on-demand.ts";
import { CheckedCode } from "./self-check.ts";
import { CODES } from "./testing/codes.ts";

const module = new WebAssembly.Module(readFileSync(modulePath));
const [F32, BF16] = [DTYPE_CODES.F32, DTYPE_CODES.BF16];

describe.each(CODES)("before %s is used", (code) => {
  test("all of it computes as the module does", () => {
    expect(new CheckedCode(sharedCode(code), module).faults()).toEqual([]);
  });

  test("a kernel that does not is named once, and those of its format are not used", () => {
    const shared = shareCode(sharedCode(code));
    const { routines, addressOf } = nativeCode(shared);
    // Three rows of x are two now.
    const [, , two = 0, three = 0] = routines.few.F32;
    addressOf(two);
    shared.places[three] = shared.places[two] ?? 0;
    const told: string[] = [];
    const checked = new CheckedCode(shared, module);
    checked.onFault = (fault) => told.push(fault);
    expect(checked.has(ATTENTION)).toBe(true);
    expect(checked.has(GEMM, BF16)).toBe(true);
    expect(told).toEqual([]);
    for (const kernel of [GEMM, NORMED_GEMM, GEMM]) expect(checked.has(kernel, F32)).toBe(false);
    const fault = `${code}: x Wᵀ of few rows, F32 differs from WebAssembly's`;
    expect(told).toEqual([fault]);
    expect(checked.faults()).toEqual([fault]);
  });
});

/** A process whose code is wrong; what of the device's results and of what it tells is right. */
const PROGRAM = `
  import { CpuDevice } from ${JSON.stringify(`${import.meta.dir}/../cpu.ts`)};
  import { RunMemory } from ${JSON.stringify(`${import.meta.dir}/../../device/run-memory.ts`)};
  import { tensorIn } from ${JSON.stringify(`${import.meta.dir}/../../device/tensor.ts`)};
  import { read, uploaded } from ${JSON.stringify(`${import.meta.dir}/../../device/transfer.ts`)};
  import { sharedCode } from ${JSON.stringify(`${import.meta.dir}/choose.ts`)};
  import { nativeCode } from ${JSON.stringify(`${import.meta.dir}/on-demand.ts`)};
  const code = process.env.RANDLORA_CPU_CODE;
  const shared = sharedCode(code);
  const { routines, addressOf } = nativeCode(shared);
  addressOf(routines.few.F32[2]);
  shared.places[routines.few.F32[3]] = shared.places[routines.few.F32[2]];
  const told = [];
  using device = await CpuDevice.open({ threads: 2, onFault: (fault) => told.push(fault) });
  const numbers = (count) => Float32Array.from({ length: count }, (_, at) => at % 5);
  const a = tensorIn(uploaded(device, "a", numbers(12)), [3, 4], "F32");
  const b = tensorIn(uploaded(device, "b", numbers(16)), [4, 4], "F32");
  const y = tensorIn(device.memory.allocate("y", 48), [3, 4], "F32");
  using recording = device.recording(new RunMemory(device));
  recording.compute("gemm", { order: "NT", a, b, y });
  await recording.take().send();
  console.log(JSON.stringify({ y: [...new Float32Array((await read(device, y.buffer)).buffer)], told }));`;

test.each(CODES)("what is not used of %s, the module computes", async (code) => {
  const { stdout } = await runToEnd([process.execPath, "-e", PROGRAM], { env: { RANDLORA_CPU_CODE: code } });
  const rows = [0, 4, 8].map((first) => [0, 1, 2, 3].map((at) => (first + at) % 5));
  const cols = [0, 4, 8, 12].map((first) => [0, 1, 2, 3].map((at) => (first + at) % 5));
  const y = rows.flatMap((row) => cols.map((col) => row.reduce((sum, value, at) => sum + value * (col[at] ?? 0), 0)));
  const told = [`${code}: x Wᵀ of few rows, F32 differs from WebAssembly's`];
  expect(JSON.parse(stdout) as unknown).toEqual({ y, told });
});
