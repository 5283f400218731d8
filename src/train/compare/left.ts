import { keyOf } from "./record.ts";
import type { PlannedRun, RunResult } from "./types.ts";

/** What of a run tells how long others take. */
type Measured = Pick<RunResult, "method" | "budget" | "seed" | "seconds">;

/** Each run is taken to need what the method's runs at its size have needed on the mean, or all runs where it has none yet. */
export function secondsLeft(runs: readonly PlannedRun[], results: readonly Measured[]): number | undefined {
  const left = runs.filter((run) => !results.some((result) => isOf(result, run)));
  if (left.length === 0 || results.length === 0) return undefined;
  const mean = (of: readonly Measured[]) => of.reduce((sum, { seconds }) => sum + seconds, 0) / of.length;
  return left.reduce((sum, { contender }) => {
    const own = results.filter(({ method, budget }) => method === contender.label && budget === contender.budget);
    return sum + mean(own.length === 0 ? results : own);
  }, 0);
}

/** Is it the result of this run? */
export function isOf({ method, budget, seed }: Measured, { contender, settings }: PlannedRun): boolean {
  return keyOf(method, budget, seed) === keyOf(contender.label, contender.budget, settings.seed);
}
