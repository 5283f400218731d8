import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { version } from "../package.json";
import { cleanEnvironment } from "../src/options/testing/spawn.ts";

// Processes that open a GPU take their time on a busy machine.
setDefaultTimeout(60_000);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-doctor-test-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs `randlora doctor` as a process of its own. */
async function doctor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), "doctor", ...args], {
    cwd: folder,
    env: cleanEnvironment(env),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status, stdout, stderr };
}

const text = expect.any(String);
const number = expect.any(Number);
const flag = expect.any(Boolean);

test("--json: the GPU in use, right and timed, and everything around it", async () => {
  const cache = join(folder, "cache");
  const { status, stdout, stderr } = await doctor(["--json"], { RANDLORA_CACHE: cache, HF_HUB_CACHE: folder });
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
      timestamps: report.gpu.features.includes("timestamp-query"),
      subgroup_matrices: report.gpu.features.includes("chromium-experimental-subgroup-matrix"),
      features: expect.any(Array),
      limits: expect.objectContaining({ maxBufferSize: number, maxStorageBufferBindingSize: number }),
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
      hub: { path: folder, exists: true, writable: true, free_bytes: number },
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
  const { status, stdout } = await doctor([]);
  expect(status).toBe(0);
  const headings = stdout.split("\n").filter((line) => line !== "" && !line.startsWith(" "));
  expect(headings).toEqual([
    expect.stringContaining(`randlora ${version}, Bun ${Bun.version}`),
    "GPUs",
    "The chosen one",
    "ΔW, 1024 × 1024, r = 32",
    "Folders",
    ...(process.platform === "linux" ? ["Vulkan"] : []),
  ]);
  expect(stdout).toMatch(/^ {2}0 {2}.+chosen$/m);
  expect(stdout).toMatch(/result +right/);
  expect(stdout).toMatch(/speed +[\d,.]+ GFLOP\/s/);
});

test.if(process.platform === "linux")(
  "without a driver: what there is, the reason and the way out; exit 1",
  async () => {
    const env = { VK_DRIVER_FILES: "/nonexistent/driver.json" };
    const people = await doctor([], env);
    expect(people.status).toBe(1);
    expect(people.stdout).toMatch(/GPUs\n {2}none found\n/);
    expect(people.stdout).toMatch(/\/nonexistent\/driver\.json +no such file/);
    expect(people.stdout).toContain("Folders");
    expect(people.stderr).toMatch(
      /^error: no GPU and no software GPU was found.*\nhint: VK_DRIVER_FILES names no usable/,
    );
    expect(people.stderr.trimEnd().split("\n")).toHaveLength(2);

    const machines = await doctor(["--json"], env);
    expect(machines.status).toBe(1);
    expect(JSON.parse(machines.stdout)).toMatchObject({
      gpus: [],
      gpu: null,
      matmul: null,
      error: expect.stringContaining("no GPU"),
      vulkan: {
        overridden_by: "VK_DRIVER_FILES",
        drivers: [{ path: "/nonexistent/driver.json", library: null, problem: "no such file" }],
      },
    });
  },
);

test("a GPU that does not exist: the list of those that do; exit 1", async () => {
  const { status, stdout, stderr } = await doctor(["--json", "--gpu", "no such card"]);
  expect(status).toBe(1);
  const { gpus, gpu } = JSON.parse(stdout);
  expect(gpu).toBeNull();
  expect(gpus.length).toBeGreaterThan(0);
  expect(stderr).toBe(
    `error: --gpu no such card: no such GPU\nhint: there are: ${gpus
      .map(({ index, name, backend }: Record<string, string>) => `${index} ${name} (${backend})`)
      .join(", ")}\n`,
  );
});
