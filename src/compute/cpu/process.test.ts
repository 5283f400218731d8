import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { runToEnd } from "../../files/testing/process.ts";
import { availableCodes } from "./native/choose.ts";

setDefaultTimeout(60_000);

/** Runs a mode of testing/process.ts until it ends by itself; a process that hangs fails by the test's time limit. */
function run(mode: string, { env, limit = "true" }: { env?: Record<string, string>; limit?: string } = {}) {
  const command = [process.execPath, join(import.meta.dir, "testing/process.ts"), mode];
  return runToEnd(["bash", "-c", `${limit}; exec "$@"`, "bash", ...command], { ...(env && { env }) });
}

test.each([
  ["closed", "7"],
  ["abandoned", '"left"'],
  ["thrown", "RandloraError: too large: needs one buffer of"],
  ["two", "[1,2,3]"],
])("the process ends by itself, quietly: %s", async (mode, printed) => {
  const { stdout, ...rest } = await run(mode);
  expect(rest).toEqual({ status: 0, stderr: "" });
  expect(stdout).toStartWith(printed);
});

test.each([
  ["trap", /^RandloraError: a worker of the CPU device failed: columnSums: .+$/],
  ["overrun", /^RandloraError: a worker of the CPU device failed: expertRows: it wrote beyond its scratch$/],
])("a kernel that fails is one line to everybody who waits and to whoever comes later: %s", async (mode, line) => {
  const { stdout, ...rest } = await run(mode);
  expect(rest).toEqual({ status: 0, stderr: "" });
  expect(JSON.parse(stdout)).toEqual([expect.stringMatching(line)]);
});

const machineCode = availableCodes().at(-1) ?? "wasm";

test.skipIf(machineCode === "wasm")("a kernel of machine code that fails is named, too", async () => {
  const { stdout } = await run("crowded", { env: { RANDLORA_CPU_CODE: machineCode } });
  const cause = "gemm with FMA: no executable memory: all of it is taken";
  expect(JSON.parse(stdout)).toEqual([expect.stringContaining(`a worker of the CPU device failed: ${cause}`)]);
});

// What memory a process has, limits of the shell, and drivers as Linux finds them.
const onLinux = test.if(process.platform === "linux");

onLinux.each([16, 4, 1.5])("%d GB of addresses do for fewer heaps, or smaller ones", async (gigabytes) => {
  // Whatever this suite runs with: so few addresses may leave none for machine code.
  const env = { RANDLORA_CPU_CODE: "" };
  const { stdout, ...rest } = await run("closed", { limit: `ulimit -v ${gigabytes * 1e6}`, env });
  expect(rest).toEqual({ status: 0, stderr: "" });
  expect(stdout).toBe("7\n");
});

onLinux("where there are addresses for one heap alone, nothing of it is kept for others", async () => {
  const { stdout } = await run("alone", { limit: "ulimit -v 4000000" });
  expect(JSON.parse(stdout)).toEqual([0, 0, 0, 0, 0, 0, 0, 1]);
});

onLinux("where no driver is found and nobody asks for a GPU, the GPU library is not loaded", async () => {
  const { stdout, ...rest } = await run("unasked", { env: { VK_DRIVER_FILES: "/nonexistent" } });
  expect(rest).toEqual({ status: 0, stderr: "" });
  expect(JSON.parse(stdout)[0]).toBe("cpu");
});
