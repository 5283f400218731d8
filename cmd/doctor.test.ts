import { expect, test } from "bun:test";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora, spawned } from "./testing/program.ts";

const folder = await TemporaryFolder.forTests();
const NO_DRIVER = { VK_DRIVER_FILES: "/nonexistent/driver.json" };

/** Where no Vulkan driver can be found. */
const doctor = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  spawned(["doctor", ...args], { cwd: folder.path, env: { ...NO_DRIVER, RANDLORA_CACHE: folder.at("cache"), ...env } });

test("a code that the CPU device does not have: the table says so, too; exit 2", async () => {
  const { status, stdout, stderr } = await doctor(["--device", "cpu"], { RANDLORA_CPU_CODE: "sse" });
  const cause = "RANDLORA_CPU_CODE=sse: is no code of the CPU device";
  expect(status).toBe(2);
  expect(stdout).toContain(`The CPU device\n  not used  ${cause}\n`);
  expect(stderr).toStartWith(`error: ${cause}\nhint: here it is one of wasm`);
});

test("options of the report file want a report", async () => {
  for (const args of [["--out", "report.json"], ["--force"]]) {
    const { status, stdout, stderr } = await randlora(["doctor", ...args]);
    expect([status, stdout, stderr]).toEqual([2, "", expect.stringContaining("of --verify")]);
  }
});
