import { Pace } from "../../terminal/pace.ts";
import type { Pause, RunStart, StepMetrics } from "../types.ts";

/** The time that a run will take, from what its steps, validations and saves have taken. */
export class RunTime {
  readonly #pace = new Pace();
  readonly #run: Pick<RunStart, "steps" | "validateEvery">;
  readonly #now: () => number;
  #step: number;
  /** When a validation or a save began. */
  #began = 0;
  /** Seconds of the last validation. */
  #validation = 0;
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
    if (isTraining && pause === "validating") this.#rest += seconds;
  }

  /** In seconds; undefined before two steps are measured. */
  get left(): number | undefined {
    return this.#after(this.#step);
  }

  /** What all steps of the run take. */
  get whole(): number | undefined {
    return this.#after(0);
  }

  #after(done: number): number | undefined {
    const { steps, validateEvery } = this.#run;
    const training = this.#pace.secondsFor(steps - done);
    if (training === undefined) return undefined;
    // The last step is followed by one, too.
    const validated = (step: number) => (validateEvery === undefined ? 0 : Math.floor(step / validateEvery));
    const last = validateEvery !== undefined && steps % validateEvery !== 0 && done < steps ? 1 : 0;
    const validations = validated(steps) - validated(done) + last;
    return (training + validations * this.#validation) * (1 + this.#saves / this.#rest);
  }
}
