import { join } from "node:path";
import * as v from "valibot";
import { RandloraError } from "../src/files/errors.ts";

/** What `npm run bench:records` writes. */
export const RECORD_FILE = join(import.meta.dir, "results/readme.json");

/** Of `machine` in harness.ts. */
export const MACHINE = v.object({
  device: v.string(),
  driver: v.string(),
  commit: v.string(),
  cpu: v.string(),
  cores: v.number(),
  memory: v.number(),
  load: v.number(),
  bun: v.string(),
});

const TAKEN = v.object({ seconds: v.array(v.number()), bytes: v.array(v.number()) });
const FIGURE = v.object({ task: v.string(), name: v.string(), peft: TAKEN, ours: TAKEN });
/** One comparison, every round of it: PEFT and randlora took turns. */
export type Figure = v.InferOutput<typeof FIGURE>;

/** All that README.md says of speed follows from it. */
export const README_RECORD = v.object({
  command: v.string(),
  date: v.string(),
  machine: MACHINE,
  /** Its version. */
  peft: v.string(),
  model: v.string(),
  figures: v.array(FIGURE),
});
/** The record. */
export type ReadmeRecord = v.InferOutput<typeof README_RECORD>;

/** Processes that wanted a core, in the mean of the last minute, beyond which a figure is none. */
export const IDLE = 0.5;

/** @throws RandloraError `usage` on a machine that others use */
export function checkIdle(load: number): void {
  if (load <= IDLE) return;
  throw new RandloraError(
    "usage",
    `the load average is ${load.toFixed(2)}: others use this machine, and their work would be in every figure`,
    `wait until it is at most ${IDLE}, or measure all the same with --loaded: README.md will say so`,
  );
}
