import { keyOf } from "./record.ts";
import type { RunResult } from "./options.ts";
import type { PlannedRun } from "./types.ts";

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

/** What runs have taken in this process: loading, validations and saves, which results leave out. */
export class RunTimes {
  readonly #now: () => number;
  readonly #taken: Measured[] = [];
  #began = 0;

  /** @param now a clock in milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  begin(): void {
    this.#began = this.#now();
  }

  end({ contender: { label: method, budget }, settings: { seed } }: PlannedRun): void {
    this.#taken.push({ method, budget, seed, seconds: (this.#now() - this.#began) / 1000 });
  }

  /** As {@link secondsLeft}; of a run that was resumed its steps may have taken longer. */
  left(runs: readonly PlannedRun[], results: readonly Measured[]): number | undefined {
    const whole = results.map((result) => {
      const own = this.#taken.find(
        (one) => keyOf(one.method, one.budget, one.seed) === keyOf(result.method, result.budget, result.seed),
      );
      return own === undefined ? result : { ...result, seconds: Math.max(result.seconds, own.seconds) };
    });
    return secondsLeft(runs, whole);
  }
}

/** Is it the result of this run? */
export function isOf({ method, budget, seed }: Measured, { contender, settings }: PlannedRun): boolean {
  return keyOf(method, budget, seed) === keyOf(contender.label, contender.budget, settings.seed);
}
