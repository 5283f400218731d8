/*
 * `npm run test:second-driver [PATH…]`: the tests that reach every kernel, on another driver than Mesa's: SwiftShader,
 * which Chromium brings. Its compiler is another one, it computes 4 lanes at a time, and it binds gigabytes at once: what
 * is right by luck on the one is wrong here. Six times as slow.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");
const ICD = "vk_swiftshader_icd.json";
/** Where distributions put Chromium. */
const FOLDERS = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/usr/lib64/chromium-browser", "/opt/google/chrome"];
/** One file stands for all merges: they compute the same, and take long. */
const ADAPTERS = [...new Bun.Glob("src/adapters/**/*.test.ts").scanSync(ROOT)]
  .filter((path) => !path.startsWith("src/adapters/merge/"))
  .toSorted();
/** Tests of everything that computes on a GPU. */
export const COMPUTING = [
  "src/compute/gpu",
  "src/compute/tensor",
  "src/models",
  ...ADAPTERS,
  "src/adapters/merge/to-files/run.test.ts",
];

/** Of these, what reaches every kernel: the rest takes a driver that is six times as slow half an hour more. */
const KERNELS = [
  "src/compute/gpu",
  "src/compute/tensor",
  "src/models/blocks",
  "src/models/decoder/decoder.test.ts",
  "src/adapters/delta",
  "src/adapters/pranc/gradient.test.ts",
  "src/adapters/merge/to-files/run.test.ts",
];

async function main(): Promise<void> {
  const driver = FOLDERS.map((folder) => join(folder, ICD)).find(existsSync);
  if (driver === undefined) {
    process.stderr.write(`error: no Chromium with ${ICD} in ${FOLDERS.join(", ")}\nhint: apt-get install chromium\n`);
    process.exitCode = 1;
  } else {
    const paths = process.argv.length > 2 ? process.argv.slice(2) : KERNELS;
    const tests = Bun.spawn([process.execPath, "test", "--timeout", "400000", ...paths], {
      cwd: ROOT,
      env: { ...process.env, VK_DRIVER_FILES: driver },
      stdio: ["ignore", "inherit", "inherit"],
    });
    process.exitCode = await tests.exited;
  }
}

if (import.meta.main) await main();
