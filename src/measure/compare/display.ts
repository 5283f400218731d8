import type { CompareObserver, CompareInput } from "./run.ts";
import type { RunResult } from "./options.ts";
import type { PlannedRun, Comparison, Contender } from "./types.ts";
import type { RunStart, StepMetrics, TrainObserver } from "../../train/types.ts";
import {
  formatCount,
  formatDuration,
  formatNumber,
  formatAmount,
  formatBytes,
  formatMeasure,
} from "../../terminal/format.ts";
import { bar, joinParts, timeLeft } from "../../terminal/progress.ts";
import { pauseText, RunTime, type TrainingSurface } from "../../train/report/display.ts";
import { resolve } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { RUNS } from "../../files/hub/name.ts";
import type { Context } from "../../terminal/options/command.ts";
import { formatTable } from "../../terminal/table.ts";
import { estimateRun } from "../../train/loop/finetune.ts";
import { ComparisonFolder } from "./folder.ts";
import { plannedRuns } from "./plan.ts";

/**
 * What a comparison would train.
 * @json compare --dry-run
 */
interface CompareDryRunJson {
  readonly dry_run: true;
  readonly runs: number;
  readonly contenders: readonly ContenderJson[];
}

interface ContenderJson {
  readonly method: string;
  readonly budget: number | null;
  readonly parameters: number;
  readonly learning_rate: number;
  readonly steps: number;
  readonly estimated_gpu_bytes: number;
  readonly estimated_disk_bytes: number;
}

type PlanInput<Batch> = Pick<CompareInput<Batch>, "location" | "local" | "load" | "gpu">;

/**
 * What the runs of a method would train and take, or what they would be refused for, with the method's name.
 * @throws RandloraError for data that cannot be read
 */
export async function planContender<Batch>(
  { label: method, budget, settings: planned }: Contender,
  { location, local, load, gpu }: PlanInput<Batch>,
  out: string | undefined,
): Promise<ContenderJson | RandloraError> {
  const settings = local(planned);
  const { subject, headParameters } = await load(settings);
  try {
    const estimate = await estimateRun({ settings, location, subject, gpu }, resolve(out ?? RUNS));
    return {
      method,
      budget,
      parameters: estimate.method.trainableParameters - headParameters,
      learning_rate: estimate.settings.learningRate,
      steps: estimate.steps,
      estimated_gpu_bytes: estimate.estimatedGpuBytes,
      estimated_disk_bytes: estimate.estimatedDiskBytes,
    };
  } catch (thrown) {
    if (!(thrown instanceof RandloraError)) throw thrown;
    return new RandloraError(thrown.code, `${method}: ${thrown.message}`, thrown.hint);
  }
}

/**
 * Shows methods, sizes, memory and runs; nothing is trained or written.
 * @throws RandloraError what a run would be refused for, with the method's name
 */
export async function showPlan<Batch>(
  out: string | undefined,
  comparison: Comparison,
  input: PlanInput<Batch>,
  context: Context,
): Promise<void> {
  if (out !== undefined) await ComparisonFolder.refuseTaken(out);
  const contenders: ContenderJson[] = [];
  for (const contender of comparison.contenders) {
    const planned = await planContender(contender, input, out);
    if (planned instanceof RandloraError) throw planned;
    contenders.push(planned);
  }
  const json: CompareDryRunJson = { dry_run: true, runs: plannedRuns(comparison).length, contenders };
  context.result(json, () => {
    const rows = contenders.map((one) => [
      one.method,
      one.budget === null ? "–" : formatNumber(one.budget),
      formatNumber(one.parameters),
      formatMeasure(one.learning_rate),
      formatNumber(one.steps),
      formatBytes(one.estimated_gpu_bytes),
      formatBytes(one.estimated_disk_bytes),
    ]);
    const head = ["method", "budget", "parameters", "rate", "steps", "device memory", "disk a run"];
    const table = formatTable(rows, { head, align: "lrrrrrr", columns: context.columns, markHead: context.style.dim });
    return `${table}\n${formatAmount(json.runs, "run")}: ${formatAmount(comparison.seeds, "seed")} of each method\n`;
  });
}

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
