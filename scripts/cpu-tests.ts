/*
 * `npm run test:cpu [PATH…]`: the tests of everything that computes on the program's own CPU device, and with no Vulkan
 * driver to be found.
 */
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");
const PATHS = ["compute/cpu", "compute/tensor", "models", "adapters", "chat", "train", "measure", "cpu"];
/** About GPUs, terminals, or a browser. */
const LEFT_OUT = [
  "src/train/loop/out-of-memory.test.ts",
  "src/chat/serve/engine.test.ts",
  "src/chat/serve/page.test.ts",
  "src/chat/terminal/**",
  "src/measure/doctor/**",
];

const paths = process.argv.length > 2 ? process.argv.slice(2) : PATHS.map((name) => `src/${name}/`);
const ignored = ["node_modules", "interop/**", "bench/**", ...LEFT_OUT].map((path) => `--path-ignore-patterns=${path}`);
const tests = Bun.spawn([process.execPath, "test", "--timeout", "120000", ...ignored, ...paths], {
  cwd: ROOT,
  env: { ...process.env, RANDLORA_TEST_DEVICE: "cpu", VK_DRIVER_FILES: "/nonexistent" },
  stdio: ["ignore", "inherit", "inherit"],
});
process.exitCode = await tests.exited;
