import type { CompareObserver } from "./run.ts";
import type { RunResult } from "./options.ts";
import type { PlannedRun } from "./types.ts";
import type { RunStart, StepMetrics, TrainObserver } from "../../train/types.ts";
import { formatCount, formatDuration, formatNumber } from "../../terminal/format.ts";
import { bar, joinParts, timeLeft } from "../../terminal/progress.ts";
import { pauseText, RunTime, type TrainingSurface } from "../../train/report/display.ts";

/** Milliseconds between two drawings of the live line. */
const REDRAW_MS = 100;
/** Steps of a run before a line says how long all runs will take. */
const ENOUGH_STEPS = 5;
/** Seconds more than were told before, below which nothing is told anew. */
const WORTH_TELLING = 10;

/** Shows a comparison on stderr: a live line with a bar for the run that trains, and a line for each that is done. */
export class ComparisonDisplay implements CompareObserver, Disposable {
  readonly #surface: Pick<TrainingSurface, "log" | "screen">;
  readonly #now: () => number;
  /** What was said once: every run of a method has the same notes. */
  readonly #said = new Set<string>();
  #shownAt = -Infinity;
  #place = "";
  #hasBegun = false;
  /** Seconds that were told last to be left. */
  #told: number | undefined;
  #isTraining = false;

  /** @param now a clock in milliseconds */
  constructor(surface: Pick<TrainingSurface, "log" | "screen">, now: () => number = () => performance.now()) {
    this.#surface = surface;
    this.#now = now;
  }

  begin(
    { contender, settings }: PlannedRun,
    index: number,
    total: number,
    afterwards: (seconds: number) => number,
  ): TrainObserver {
    const { label, budget } = contender;
    const name = nameOf(label, budget, settings.seed);
    if (!this.#hasBegun && total > 1) {
      this.#surface.log.info(`${total - index} runs`);
    }
    this.#hasBegun = true;
    this.#place = `run ${index + 1} of ${total}: ${name}`;
    let run: Pick<RunStart, "step" | "steps"> = { step: 0, steps: 0 };
    let time = new RunTime({ ...run, validateEvery: undefined }, this.#now);
    this.#live([this.#place]);
    return {
      warn: (line) => {
        if (this.#said.has(line)) return;
        this.#said.add(line);
        this.#surface.log.warn(`${label}: ${line}`);
      },
      loading: () => {},
      start: (started) => {
        run = started;
        time = new RunTime(started, this.#now);
        this.#isTraining = true;
        if (started.step > 0) {
          this.#surface.log.info(`${name}: goes on from step ${formatNumber(started.step)}`);
        }
      },
      step: (metrics: StepMetrics) => {
        time.step(metrics);
        const { left } = time;
        const others = left === undefined ? undefined : afterwards(time.whole ?? 0);
        if (left !== undefined && others !== undefined && metrics.step >= run.step + ENOUGH_STEPS) {
          this.#estimate(left + others);
        }
        if (this.#now() - this.#shownAt < REDRAW_MS) return;
        const share = metrics.step / Math.max(run.steps, 1);
        const inAll = timeLeft(others === undefined || others === 0 ? undefined : (left ?? 0) + others);
        const parts = [...timeLeft(left), ...inAll.map((text) => `${text} in all`)];
        this.#live([this.#place, bar(share), `loss ${metrics.loss.toFixed(3)}`, ...parts]);
      },
      pause: (what, done, total) => {
        if (done === 0) time.begin();
        if (what === "measuring forgetting") this.#isTraining = false;
        if (this.#now() - this.#shownAt < REDRAW_MS) return;
        this.#live([this.#place, pauseText(what, done, total), ...timeLeft(time.left)]);
      },
      evaluation: () => time.end("validating"),
      saved: () => time.end("saving"),
    };
  }

  end(
    { method, budget, seed, loss, best_valid_loss: valid, seconds, error }: RunResult,
    left: number | undefined,
  ): void {
    this.#isTraining = false;
    this.#told = left;
    const name = nameOf(method, budget, seed);
    const parts = [
      ...(loss === null ? [] : [`loss ${loss.toFixed(4)}`]),
      ...(valid === null ? [] : [`validation ${valid.toFixed(4)}`]),
      formatDuration(seconds),
      ...(left === undefined || left === 0 ? [] : [`about ${formatDuration(left)} left`]),
    ];
    if (error === null) this.#surface.log.info(`${name}: ${parts.join(", ")}`);
    else this.#surface.log.warn(`${name}: ${error}`);
  }

  /** The first time, and where a method turns out to take far longer than those before it. */
  #estimate(seconds: number): void {
    if (this.#told !== undefined && seconds < 2 * this.#told + WORTH_TELLING) return;
    this.#told = seconds;
    const all = formatDuration(seconds);
    this.#surface.log.info(`about ${all} left, if methods that have not run take as long as this one`);
  }

  note(line: string): void {
    this.#surface.log.info(line);
  }

  /** The comparison was told to stop; it may take a step's time. */
  stopping(): void {
    if (this.#isTraining) this.#surface.log.info("stopping: finishing the step, then saving; once more leaves unsaved");
  }

  [Symbol.dispose](): void {
    this.#isTraining = false;
    this.#surface.screen.live("");
  }

  #live(parts: readonly string[]): void {
    const { screen } = this.#surface;
    if (!screen.interactive) return;
    screen.live(joinParts(parts, screen.columns));
    this.#shownAt = this.#now();
  }
}

/** A run's method, the parameters that were wanted (how many there are is in the table), and its seed. */
function nameOf(label: string, budget: number | null, seed: number): string {
  return [label, ...(budget === null ? [] : [`budget ${formatCount(budget)}`]), `seed ${seed}`].join(", ");
}
