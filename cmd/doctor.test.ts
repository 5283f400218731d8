import { expect, test } from "bun:test";
import { version } from "../package.json";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora, spawned } from "./testing/program.ts";

const folder = await TemporaryFolder.forTests();
const NO_DRIVER = { VK_DRIVER_FILES: "/nonexistent/driver.json" };

/** Where no Vulkan driver can be found. */
const doctor = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  spawned(["doctor", ...args], { cwd: folder.path, env: { ...NO_DRIVER, RANDLORA_CACHE: folder.at("cache"), ...env } });

test.if(process.platform === "linux")(
  "a GPU that is asked for without a driver: what there is, the reason and the way out; exit 1",
  async () => {
    const people = await doctor(["--device", "software"]);
    expect(people.status).toBe(1);
    expect(people.stdout).toMatch(/Devices\n {2}cpu .*\n\n/);
    expect(people.stdout).toMatch(/\/nonexistent\/driver\.json +no such file/);
    expect(people.stdout).toContain("Folders");
    expect(people.stderr).toMatch(/^error: --device software: no such GPU\nhint: VK_DRIVER_FILES names no usable/);
    expect(people.stderr.trimEnd().split("\n")).toHaveLength(2);
  },
);

test.if(process.platform === "linux")("without a driver and a choice: the CPU device, right, and no word", async () => {
  const { status, stdout, stderr } = await doctor(["--json", "--threads", "1"]);
  expect([status, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toMatchObject({
    versions: { randlora: version, bun: Bun.version },
    gpus: [],
    gpu: null,
    cpu: { threads: 1, chosen: true, product: { correct: true }, vector_product: { correct: true } },
    matmul: { correct: true },
    error: null,
    vulkan: {
      overridden_by: "VK_DRIVER_FILES",
      drivers: [{ path: "/nonexistent/driver.json", library: null, problem: "no such file" }],
    },
    cache_folders: { randlora: { path: folder.at("cache"), exists: false, writable: true } },
  });
});

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
