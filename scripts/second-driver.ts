/*
 * `npm run test:second-driver [PATH…]`: the tests that reach every kernel, on another driver than Mesa's: SwiftShader,
 * which Chromium brings. Its compiler is another one, it computes 4 lanes at a time, and it binds gigabytes at once: what
 * is right by luck on the one is wrong here. Six times as slow.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { KERNELS, testOnGpu } from "./gpu-tests.ts";

const ICD = "vk_swiftshader_icd.json";
/** Where distributions put Chromium. */
const FOLDERS = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/usr/lib64/chromium-browser", "/opt/google/chrome"];
/** Cases of ops and families reach every kernel: models and adapters on a driver that is six times as slow show no more of it. */
const TESTS = [...KERNELS, "src/compute/gpu/families/"];

const driver = FOLDERS.map((folder) => join(folder, ICD)).find(existsSync);
if (driver === undefined) {
  process.stderr.write(`error: no Chromium with ${ICD} in ${FOLDERS.join(", ")}\nhint: apt-get install chromium\n`);
  process.exitCode = 1;
} else {
  const paths = process.argv.length > 2 ? process.argv.slice(2) : TESTS;
  process.exitCode = await testOnGpu(["--parallel", "--no-isolate", "--timeout", "400000", ...paths], {
    VK_DRIVER_FILES: driver,
  });
}
