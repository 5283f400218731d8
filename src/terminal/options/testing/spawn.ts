import { join } from "node:path";
import { type Outcome, type ProcessOptions, runToEnd } from "../../../files/testing/process.ts";

export const SAMPLE = join(import.meta.dir, "sample.ts");

/** Runs the sample program to its end. */
export const sample = (args: readonly string[], options: ProcessOptions = {}): Promise<Outcome> =>
  runToEnd([process.execPath, SAMPLE, ...args], { cwd: import.meta.dir, ...options });
