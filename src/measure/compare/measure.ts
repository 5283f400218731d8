import { join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { METRICS_FILE, SETTINGS_FILE } from "../../files/run-names.ts";
import { parseMetrics } from "../../train/run/metrics.ts";
import type { ComparisonFolder } from "./folder.ts";
import { plannedRuns } from "./plan.ts";
import { type ComparisonRecord, keyOf } from "./record.ts";
import type { Metrics } from "../../train/types.ts";
import type { RunResult } from "./options.ts";
import type { PlannedRun } from "./types.ts";

/** What metrics.jsonl tells of a run. */
export type Measured = Pick<
  RunResult,
  "steps" | "loss" | "valid_loss_before" | "valid_loss" | "best_valid_loss" | "accuracy" | "seconds"
>;

/** The part of the steps that `loss` is the mean of. */
const LAST = 1 / 4;

/** Sums a run up: `loss` is the mean over the last quarter of its steps, at least one; null without any. */
export function measure(metrics: readonly Metrics[]): Measured {
  const steps = metrics.flatMap((line) => ("loss" in line ? [line] : []));
  const evaluations = metrics.flatMap((line) => ("valid_loss" in line ? [line] : []));
  const end = evaluations.at(-1);
  const [begin] = evaluations;
  const last = steps.slice(steps.length - Math.ceil(steps.length * LAST));
  return {
    steps: steps.length,
    loss: last.length === 0 ? null : last.reduce((sum, { loss }) => sum + loss, 0) / last.length,
    valid_loss_before: begin?.step === 0 ? begin.valid_loss : null,
    valid_loss: end?.valid_loss ?? null,
    best_valid_loss: evaluations.length === 0 ? null : Math.min(...evaluations.map(({ valid_loss: loss }) => loss)),
    accuracy: end?.valid_accuracy ?? null,
    seconds: steps.reduce((sum, { seconds }) => sum + seconds, 0),
  };
}

/** The steps and evaluations of a run. @throws RandloraError `file` */
export async function metricsOf(folder: ComparisonFolder, run: PlannedRun): Promise<readonly Metrics[]> {
  const file = Bun.file(join(folder.run(run.name), METRICS_FILE));
  return (await file.exists()) ? parseMetrics(await file.text()) : [];
}

/** What is recorded, without the results whose run is gone; a run whose files say otherwise is refused. */
export async function verified(
  { folder, record }: { readonly folder: ComparisonFolder; readonly record: ComparisonRecord },
  observer: { note(line: string): void },
): Promise<ComparisonRecord> {
  const runs = plannedRuns(record.comparison);
  const results: RunResult[] = [];
  for (const result of record.results) {
    const run = runs.find((one) => isOf(result, one));
    if (run === undefined || result.error !== null) {
      results.push(result);
      continue;
    }
    const path = folder.run(run.name);
    if (!(await Bun.file(join(path, SETTINGS_FILE)).exists())) {
      observer.note(`${oneLine(path)} is gone: the run is made again`);
      continue;
    }
    const found = measure(await metricsOf(folder, run));
    const recorded = new Map(Object.entries(result));
    const isOther = Object.entries(found).some(([key, value]) => recorded.has(key) && recorded.get(key) !== value);
    if (isOther) throw tampered(path, `its ${METRICS_FILE} is not what the comparison recorded`);
    results.push(result);
  }
  return { ...record, results };
}

/** A run that is not what the comparison made. */
export function tampered(path: string, cause: string): RandloraError {
  const hint = "put back what was there, or remove the folder: its run is then made again";
  return new RandloraError("format", `${oneLine(path)}: ${cause}`, hint);
}

/** What of a run tells how long others take. */
type TimedRun = Pick<RunResult, "method" | "budget" | "seed" | "seconds">;

/** Each run is taken to need what the method's runs at its size have needed on the mean, or all runs where it has none yet. */
export function secondsLeft(runs: readonly PlannedRun[], results: readonly TimedRun[]): number | undefined {
  const left = runs.filter((run) => !results.some((result) => isOf(result, run)));
  if (left.length === 0 || results.length === 0) return undefined;
  const mean = (of: readonly TimedRun[]) => of.reduce((sum, { seconds }) => sum + seconds, 0) / of.length;
  return left.reduce((sum, { contender }) => {
    const own = results.filter(({ method, budget }) => method === contender.label && budget === contender.budget);
    return sum + mean(own.length === 0 ? results : own);
  }, 0);
}

/** What runs have taken in this process: loading, validations and saves, which results leave out. */
export class RunTimes {
  readonly #now: () => number;
  readonly #taken: TimedRun[] = [];
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
  left(runs: readonly PlannedRun[], results: readonly TimedRun[]): number | undefined {
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
export function isOf({ method, budget, seed }: TimedRun, { contender, settings }: PlannedRun): boolean {
  return keyOf(method, budget, seed) === keyOf(contender.label, contender.budget, settings.seed);
}
