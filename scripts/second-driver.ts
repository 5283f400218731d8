/*
 * `npm run test:second-driver [PATH…]`: the tests that reach every kernel, on another driver than Mesa's: SwiftShader,
 * which Chromium brings. Its compiler is another one, it computes 4 lanes at a time, and it binds gigabytes at once: what
 * is right by luck on the one is wrong here. Six times as slow.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { KERNELS, ON_GPU } from "./gpu-tests.ts";
import { runBoth, runTests } from "./tests.ts";

const ICD = "vk_swiftshader_icd.json";
/** Where distributions put Chromium. */
const FOLDERS = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/usr/lib64/chromium-browser", "/opt/google/chrome"];
/** Cases of ops and families reach every kernel: models and adapters on a driver that is six times as slow show no more of it. */
const TESTS = [...KERNELS, "src/compute/gpu/families/"];
/** Half of the time. */
const OPS = "src/compute/tensor/ops/ops.test.ts";

const driver = FOLDERS.map((folder) => join(folder, ICD)).find(existsSync);
if (driver === undefined) {
  process.stderr.write(`error: no Chromium with ${ICD} in ${FOLDERS.join(", ")}\nhint: apt-get install chromium\n`);
  process.exitCode = 1;
} else {
  const options = ["--no-isolate", "--timeout", "400000"];
  const env = { ...ON_GPU, VK_DRIVER_FILES: driver };
  const asked = process.argv.slice(2);
  const others = [...options, `--path-ignore-patterns=${OPS}`, ...TESTS];
  process.exitCode =
    asked.length > 0
      ? await runTests(["--parallel", ...options, ...asked], env)
      : await runBoth([[...options, OPS], others], env);
}
