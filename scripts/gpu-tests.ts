/*
 * `npm run test:gpu [PATH…]`: the tests that compute, on the GPU that there is, a software one mostly: `npm test` runs them on
 * the CPU device.
 */
import { join } from "node:path";
import { runTests } from "./tests.ts";

const ROOT = join(import.meta.dir, "..");
/** One file stands for all merges: they compute the same, and take long. */
const ADAPTERS = [...new Bun.Glob("src/adapters/**/*.test.ts").scanSync(ROOT)]
  .filter((path) => !path.startsWith("src/adapters/merge/"))
  .toSorted();

/** Every op and family, and what reaches kernels otherwise. */
export const KERNELS = [
  "src/compute/tensor/ops",
  "src/compute/tensor/cases/families",
  ...["blocks", "fill-cache", "gemm", "grouped-gemm", "run", "strided-sums"].map(
    (name) => `src/compute/tensor/${name}.test.ts`,
  ),
  "src/compute/gpu/kernels/philox.test.ts",
];

/** What `npm test` runs on the CPU device alone. */
const ON_CPU = ["src/models", ...ADAPTERS, "src/adapters/merge/to-files/run.test.ts"];

/** Tests of everything that computes on a GPU. */
export const COMPUTING = ["src/compute/gpu", "src/compute/tensor", ...ON_CPU];

/** A run of training that is taken up again. */
const RESUMED = "src/train/loop/lora.test.ts";

/** Tests that choose no device run on a GPU. */
export const ON_GPU = { RANDLORA_TEST_DEVICE: "gpu" };

if (import.meta.main) {
  const paths = process.argv.slice(2);
  const options = ["--parallel", "--no-isolate", "--timeout", "120000"];
  process.exitCode = await runTests(
    [...options, ...(paths.length > 0 ? paths : [...KERNELS, ...ON_CPU, RESUMED])],
    ON_GPU,
  );
}
