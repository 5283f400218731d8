import { formatNumber } from "../../terminal/format.ts";
import { Pace } from "../../terminal/progress.ts";
import type { Pause, RunStart, StepMetrics } from "../types.ts";

/** What a run does between two steps. @param done batches of a validation */
export function pauseText(what: Pause, done: number, total: number): string {
  return total > 1 ? `${what} ${formatNumber(done)} of ${formatNumber(total)}` : what;
}

/** The time that a run will take, from what its steps, validations and saves have taken. */
export class RunTime {
  readonly #pace = new Pace();
  readonly #run: Pick<RunStart, "step" | "steps" | "validateEvery">;
  readonly #now: () => number;
  #step: number;
  /** When a validation or a save began. */
  #began = 0;
  /** Seconds of the last validation, and how many have ended since the first step. */
  #validation = 0;
  #validated = 0;
  /** Seconds of saves since the first step, and of all else. */
  #saves = 0;
  #rest = 0;

  /** @param now a clock in milliseconds */
  constructor(run: Pick<RunStart, "step" | "steps" | "validateEvery">, now: () => number) {
    this.#run = run;
    this.#step = run.step;
    this.#now = now;
  }

  step({ step, seconds }: Pick<StepMetrics, "step" | "seconds">): void {
    this.#step = step;
    this.#rest += seconds;
    this.#pace.add(seconds);
  }

  begin(): void {
    this.#began = this.#now();
  }

  end(pause: Pause): void {
    const seconds = (this.#now() - this.#began) / 1000;
    // What a run begins with says nothing of how often it saves.
    const isTraining = this.#rest > 0;
    if (pause === "validating") this.#validation = seconds;
    if (isTraining && pause === "saving") this.#saves += seconds;
    if (!isTraining || pause !== "validating") return;
    this.#rest += seconds;
    this.#validated++;
  }

  /** In seconds; undefined before two steps are measured. */
  get left(): number | undefined {
    const validations = this.#validationsFrom(this.#run.step) - this.#validated;
    return this.#timeOf(this.#run.steps - this.#step, Math.max(0, validations));
  }

  /** What all steps of the run take. */
  get whole(): number | undefined {
    return this.#timeOf(this.#run.steps, this.#validationsFrom(0));
  }

  #validationsFrom(first: number): number {
    const { steps, validateEvery } = this.#run;
    if (validateEvery === undefined) return 0;
    // The last step is followed by one, too.
    const last = steps % validateEvery !== 0 && first < steps ? 1 : 0;
    return Math.floor(steps / validateEvery) - Math.floor(first / validateEvery) + last;
  }

  #timeOf(steps: number, validations: number): number | undefined {
    const training = this.#pace.secondsFor(steps);
    if (training === undefined) return undefined;
    return (training + validations * this.#validation) * (1 + this.#saves / this.#rest);
  }
}
