import { expect, test } from "bun:test";
import { RandloraError } from "../../files/errors.ts";
import { explainFailure, warningsOf } from "./report.ts";
import type { Diagnosis } from "./doctor.ts";

const folder = (path: string, writable = true) => ({ path, exists: true, writable, freeBytes: 1e9 });
const caches = { randlora: folder("/cache"), hub: folder("/hub") };
const temp = { ...folder("/tmp"), executable: true, setBy: undefined };
const healthy: Diagnosis = {
  versions: { randlora: "1", bun: "1", webgpu: "1" },
  platform: "linux-x64",
  cores: 2,
  load: 0,
  gpus: [{ name: "card", backend: "vulkan", software: false }],
  unlisted: undefined,
  chosen: 0,
  gpu: undefined,
  cpu: undefined,
  cpuFailure: undefined,
  trial: { sampled: 1, maxRelativeError: 0, correct: true, seconds: 1, gflops: 1, kernel: "" },
  failure: undefined,
  vulkan: { loader: true, overriddenBy: undefined, manifests: [] },
  temp,
  caches,
};

test("nothing to say about a healthy machine", () => {
  expect(warningsOf(healthy)).toEqual([]);
  expect(explainFailure(healthy)).toBeUndefined();
});

test.each([
  [{ ...temp, writable: false, executable: false }, "/tmp: temporary files cannot be written"],
  [{ ...temp, executable: false }, "/tmp is mounted noexec"],
  [{ ...temp, freeBytes: 1e6 }, "/tmp: 1.00 MB free are too few"],
])("a temp folder that will not do: %#", (broken, line) => {
  const lines = warningsOf({ ...healthy, temp: broken });
  expect(lines).toEqual([expect.stringContaining(line)]);
  expect(lines[0]).toContain("BUN_TMPDIR");
});

test("caches that cannot be written", () => {
  const lines = warningsOf({ ...healthy, caches: { randlora: folder("/cache", false), hub: folder("/hub", false) } });
  expect(lines).toEqual([expect.stringContaining("RANDLORA_CACHE"), expect.stringContaining("HF_HOME")]);
});

test("a GPU that computes wrong is a failure", () => {
  const trial = { sampled: 1, maxRelativeError: 1, correct: false, seconds: 1, gflops: 1, kernel: "" };
  expect(explainFailure({ ...healthy, trial })).toMatchObject({
    code: "gpu",
    message: expect.stringContaining("computes ΔW wrong"),
  });
});

test("a CPU device that computes wrong is a failure, whatever was chosen", () => {
  const product = { rows: 1, cols: 1, terms: 1, sampled: 1, maxRelativeError: 0, seconds: 1, gflops: 1, gigabytes: 1 };
  const cpu = {
    name: "CPU (x)",
    threads: 1,
    code: "wasm" as const,
    passed: [],
    product: { ...product, correct: true },
  };
  const right = { ...cpu, vectorProduct: { ...product, correct: true } };
  expect(explainFailure({ ...healthy, cpu: right })).toBeUndefined();
  const wrong = { ...cpu, vectorProduct: { ...product, correct: false } };
  expect(explainFailure({ ...healthy, cpu: wrong })).toMatchObject({
    code: "gpu",
    message: expect.stringContaining("CPU (x) computes products wrong"),
  });
});

test("devices that cannot be had and were not asked for are warned of, and not twice", () => {
  const unlisted = new RandloraError("gpu", "cannot load the GPU library: x");
  expect(warningsOf({ ...healthy, unlisted })).toEqual(["cannot load the GPU library: x"]);
  expect(warningsOf({ ...healthy, unlisted, failure: unlisted })).toEqual([]);
});

test("a variable that hides every driver is named; other failures stay as they are", () => {
  const failure = new RandloraError("gpu", "no GPU", "install one");
  const none = { ...healthy, gpus: [], failure };
  expect(explainFailure(none)).toBe(failure);
  const manifests = [{ path: "/x.json", library: undefined, problem: "no such file" }];
  const hidden = { ...none, vulkan: { loader: true, overriddenBy: "VK_DRIVER_FILES", manifests } };
  expect(explainFailure(hidden)).toMatchObject({ message: "no GPU", hint: expect.stringMatching(/^VK_DRIVER_FILES/) });
  const bug = new TypeError("x");
  const code = new RandloraError("usage", "RANDLORA_CPU_CODE=sse: is no code of the CPU device");
  for (const other of [bug, code]) expect(explainFailure({ ...hidden, failure: other })).toBe(other);
});
