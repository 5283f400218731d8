// `doctor` of a GPU, a software one mostly.
import { expect, test } from "bun:test";
import { version } from "../package.json";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { spawned } from "./testing/program.ts";

const folder = await TemporaryFolder.forTests();

const doctor = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  spawned(["doctor", ...args], { cwd: folder.path, env });

const text = expect.any(String);
const number = expect.any(Number);
const flag = expect.any(Boolean);

const product = (shape: readonly number[]) => ({
  shape,
  correct: true,
  sampled: number,
  max_relative_error: number,
  seconds: number,
  gflops: number,
  gb_per_s: number,
});

test("--json: the GPU in use, right and timed, and everything around it", async () => {
  const cache = folder.at("cache");
  const { status, stdout, stderr } = await doctor(["--json", "--device", "0"], {
    RANDLORA_CACHE: cache,
    HF_HUB_CACHE: folder.path,
  });
  expect([status, stderr]).toEqual([0, ""]);
  const report = JSON.parse(stdout);
  expect(report).toEqual({
    versions: { randlora: version, bun: Bun.version, webgpu: text },
    platform: `${process.platform}-${process.arch}`,
    cores: number,
    load_average: number,
    gpus: expect.any(Array),
    gpu: {
      index: number,
      name: text,
      vendor: text,
      architecture: text,
      driver: text,
      backend: text,
      software: flag,
      subgroup_size: report.gpu.features.includes("subgroups") ? { min: number, max: number } : null,
      f16: report.gpu.features.includes("shader-f16"),
      integer_dots: flag,
      timestamps: report.gpu.features.includes("timestamp-query"),
      subgroup_matrices: report.gpu.features.includes("chromium-experimental-subgroup-matrix"),
      features: expect.any(Array),
      limits: expect.objectContaining({ maxBufferSize: number, maxStorageBufferBindingSize: number }),
    },
    cpu: {
      name: text,
      threads: number,
      code: expect.stringMatching(/^(wasm|avx2|avx512|neon)$/),
      chosen: false,
      product: product([512, 1024, 1024]),
      vector_product: product([1, 8192, 2048]),
    },
    matmul: {
      shape: [1024, 1024, 1024],
      kernel: expect.stringContaining("bf16 bases"),
      correct: true,
      sampled: 256,
      max_relative_error: number,
      seconds: number,
      gflops: number,
    },
    error: null,
    gpus_error: null,
    cpu_error: null,
    vulkan: process.platform === "linux" ? { loader: true, overridden_by: null, drivers: expect.any(Array) } : null,
    temp_folder: {
      path: text,
      exists: true,
      writable: true,
      free_bytes: number,
      executable: true,
      set_by: process.env["TMPDIR"] === undefined ? null : "TMPDIR",
    },
    cache_folders: {
      randlora: { path: cache, exists: false, writable: true, free_bytes: number },
      hub: { path: folder.path, exists: true, writable: true, free_bytes: number },
    },
  });
  const { gpus, gpu, matmul } = report;
  expect(gpus[gpu.index]).toEqual({
    index: gpu.index,
    name: text,
    backend: gpu.backend,
    software: gpu.software,
    chosen: true,
  });
  expect(gpu.limits.maxStorageBufferBindingSize).toBeGreaterThanOrEqual(2 ** 27);
  expect(matmul.max_relative_error).toBeLessThan(2e-6);
  expect(matmul.gflops * matmul.seconds).toBeCloseTo((2 * 1024 ** 3) / 1e9, 3);
});

test("for people: the same in sections", async () => {
  const { status, stdout } = await doctor(["--device", "0"]);
  expect(status).toBe(0);
  const headings = stdout.split("\n").filter((line) => line !== "" && !line.startsWith(" "));
  expect(headings).toEqual([
    expect.stringContaining(`randlora ${version}, Bun ${Bun.version}`),
    "Devices",
    "The CPU device",
    "The chosen GPU",
    "ΔW, 1024 × 1024, r = 32",
    "Folders",
    ...(process.platform === "linux" ? ["Vulkan"] : []),
  ]);
  expect(stdout).toMatch(/^ {2}0 {2}.+chosen$/m);
  expect(stdout).toMatch(/result +right/);
  expect(stdout).toMatch(/speed +[\d,.]+ GFLOP\/s/);
});

test("a GPU that does not exist: the list of those that do; exit 1", async () => {
  const { status, stdout, stderr } = await doctor(["--json", "--device", "no such card"]);
  expect(status).toBe(1);
  const { gpus, gpu } = JSON.parse(stdout);
  expect(gpu).toBeNull();
  expect(gpus.length).toBeGreaterThan(0);
  expect(stderr).toBe(
    `error: --device no such card: no such GPU\nhint: there are: cpu, ${gpus
      .map(({ index, name, backend }: Record<string, string>) => `${index} ${name} (${backend})`)
      .join(", ")}\n`,
  );
});

/** Where no Vulkan driver can be found. */
const driverless = (args: readonly string[]) =>
  doctor(args, { VK_DRIVER_FILES: "/nonexistent/driver.json", RANDLORA_CACHE: folder.at("no-cache") });

test.if(process.platform === "linux")(
  "a GPU that is asked for without a driver: what there is, the reason and the way out; exit 1",
  async () => {
    const people = await driverless(["--device", "software"]);
    expect(people.status).toBe(1);
    expect(people.stdout).toMatch(/Devices\n {2}cpu .*\n\n/);
    expect(people.stdout).toMatch(/\/nonexistent\/driver\.json +no such file/);
    expect(people.stdout).toContain("Folders");
    expect(people.stderr).toMatch(/^error: --device software: no such GPU\nhint: VK_DRIVER_FILES names no usable/);
    expect(people.stderr.trimEnd().split("\n")).toHaveLength(2);
  },
);

test.if(process.platform === "linux")("without a driver and a choice: the CPU device, right, and no word", async () => {
  const { status, stdout, stderr } = await driverless(["--json", "--threads", "1"]);
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
    cache_folders: { randlora: { path: folder.at("no-cache"), exists: false, writable: true } },
  });
});
