import { setDefaultTimeout } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { bundledThreads } from "../src/files/carried.ts";
import { TEST_SEED } from "../src/files/testing/seed.ts";
import { compileAssembly } from "./assembly.mjs";

// A kernel's first compile on a software GPU takes seconds on a busy machine. Nothing here tests speed. Of several files Bun applies
// this to the first; `npm test` says the same by --timeout.
setDefaultTimeout(120_000);

// What failed yesterday fails today: properties draw the same cases, and name the seed where one does not hold.
fc.configureGlobal({ seed: TEST_SEED });

// Kernels that are older than their sources read other parameters than they are given: results are wrong, and nothing says why.
if (!compileAssembly(join(import.meta.dir, ".."))) throw new Error("kernels.wasm cannot be made: see above");

// A thread of the CPU device reads a hundred files and takes twice the time to start; npm test starts well over a thousand.
const WORKER = "src/compute/cpu/worker.ts";
const { outputs } = await Bun.build({
  entrypoints: [join(import.meta.dir, "..", WORKER)],
  target: "bun",
  minify: true,
});
for (const program of outputs) bundledThreads.set(WORKER, URL.createObjectURL(program));
