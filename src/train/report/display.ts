import type { EvaluationMetrics, Pause, RunStart, StepMetrics, TrainObserver } from "../types.ts";
import { formatAmount, formatBytes, formatCount, formatMeasure, formatNumber } from "../../terminal/format.ts";
import type { LiveLine, Log } from "../../terminal/screen.ts";
import { bar, BytesBar, joinParts, Pace, type Progress, type ProgressSpec, timeLeft } from "../../terminal/progress.ts";

/** Milliseconds between two drawings of the live line. */
const REDRAW_MS = 100;
/** Without a terminal: a row whenever another twentieth of the steps is done … */
const ROW_SHARE = 1 / 20;
/** … or after so many milliseconds. */
const ROW_MS = 30_000;
/** Steps that loss and speed are told from. */
const RECENT = 16;

/** Where a training run is shown. */
export interface TrainingSurface {
  readonly log: Log;
  readonly screen: LiveLine;
  progress(spec: ProgressSpec): Progress;
}

/** Steps since some moment. */
interface Span {
  readonly steps: number;
  readonly loss: number;
  readonly tokens: number;
  readonly seconds: number;
}

const NONE: Span = { steps: 0, loss: 0, tokens: 0, seconds: 0 };

/**
 * Shows a training run on stderr: one live line on a terminal, rows elsewhere; evaluations and warnings are lines of their
 * own.
 *
 * @param now a clock in milliseconds
 */
export class TrainingDisplay implements TrainObserver, Disposable {
  readonly #surface: TrainingSurface;
  readonly #now: () => number;
  #loading: BytesBar | undefined;
  #run: RunStart | undefined;
  #valid: number | undefined;
  readonly #recent: Span[] = [];
  #time: RunTime | undefined;
  /** Since the last row. */
  #span = NONE;
  #shownAt: number;
  #shownStep = 0;
  /** Steps that are done. */
  #done = 0;
  #isOver = false;

  constructor(surface: TrainingSurface, now: () => number = () => performance.now()) {
    this.#surface = surface;
    this.#now = now;
    this.#shownAt = now();
  }

  warn(message: string): void {
    this.#surface.log.warn(message);
  }

  loading(read: number, total: number): void {
    this.#loading ??= new BytesBar(this.#surface, "loading");
    this.#loading.update(read, total);
  }

  start(run: RunStart): void {
    this.#endLoading();
    this.#run = run;
    this.#time = new RunTime(run, this.#now);
    this.#done = run.step;
    this.#shownStep = run.step;
    this.#shownAt = this.#now();
    if (run.step >= run.steps) {
      this.#surface.log.info(`${run.run}: all of its ${formatNumber(run.steps)} steps are done already`);
      return;
    }
    const from = run.step === 0 ? "" : `, from step ${formatNumber(run.step)} on`;
    const memory = `about ${formatBytes(run.estimatedGpuBytes)} of device memory`;
    const spared = run.checkpointing ? ", activations recomputed" : "";
    this.#surface.log.info(`training ${formatCount(run.trainableParameters)} parameters into ${run.run}`);
    this.#surface.log.info(
      `${formatAmount(run.steps, "step")}, ${formatAmount(run.epochs, "epoch")}${from}; ${memory}${spared}`,
    );
    if (this.#surface.screen.interactive) this.#surface.screen.live(`step ${run.step} of ${run.steps}`);
  }

  step(metrics: StepMetrics, memory: { readonly gpuBytes: number; readonly totalTokens: number }): void {
    const span = { steps: 1, loss: metrics.loss, tokens: memory.totalTokens, seconds: metrics.seconds };
    this.#span = add(this.#span, span);
    this.#recent.push(span);
    this.#time?.step(metrics);
    this.#done = metrics.step;
    if (this.#recent.length > RECENT) this.#recent.shift();
    const { screen } = this.#surface;
    if (screen.interactive) {
      if (this.#now() - this.#shownAt < REDRAW_MS && metrics.step !== this.#run?.steps) return;
      screen.live(this.#liveLine(metrics, memory.gpuBytes, screen.columns));
      this.#shownAt = this.#now();
    } else if (this.#isRowDue(metrics.step)) {
      screen.line(this.#row(metrics, memory.gpuBytes));
      this.#span = NONE;
      this.#shownStep = metrics.step;
      this.#shownAt = this.#now();
    }
  }

  pause(what: Pause, done: number, total: number): void {
    if (done === 0) this.#time?.begin();
    const { screen } = this.#surface;
    if (!screen.interactive || (done > 0 && this.#now() - this.#shownAt < REDRAW_MS)) return;
    const steps = this.#run?.steps ?? this.#done;
    const parts = [
      `step ${formatNumber(this.#done)} of ${formatNumber(steps)}`,
      bar(this.#done / steps),
      pauseText(what, done, total),
      ...timeLeft(this.#time?.left),
    ];
    screen.live(joinParts(parts, screen.columns));
    this.#shownAt = this.#now();
  }

  evaluation({ step, valid_loss: loss, valid_accuracy: accuracy }: EvaluationMetrics, best: boolean): void {
    this.#time?.end("validating");
    const before = this.#valid;
    this.#valid = loss;
    const change = before === undefined ? "" : loss < before ? ", falling" : ", rising";
    const right = accuracy === undefined ? "" : `; accuracy ${(100 * accuracy).toFixed(2)} %`;
    const which = best && step > 0 ? ", the lowest so far" : change;
    this.#surface.log.info(`step ${formatNumber(step)}: validation loss ${loss.toFixed(4)}${which}${right}`);
  }

  saved(step: number): void {
    this.#time?.end("saving");
    this.#surface.log.verbose(`step ${formatNumber(step)}: saved`);
  }

  /** The run was told to stop; it may take a step's time. Before the first step and after the last there is nothing to wait for. */
  stopping(): void {
    if (this.#run === undefined || this.#isOver) return;
    this.#surface.log.info("stopping: finishing the step, then saving; once more leaves unsaved");
  }

  /** Ends the display; what was shown as lines stays. */
  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#endLoading();
    this.#surface.screen.live("");
  }

  #endLoading(): void {
    this.#loading?.[Symbol.dispose]();
    this.#loading = undefined;
  }

  #isRowDue(step: number): boolean {
    const { step: first, steps } = this.#run ?? { step: 0, steps: step };
    const share = (step - this.#shownStep) / Math.max(steps, 1);
    return step === first + 1 || step >= steps || share >= ROW_SHARE || this.#now() - this.#shownAt >= ROW_MS;
  }

  /** The most telling first: what does not fit is left out from the end. */
  #liveLine({ step, learning_rate }: StepMetrics, gpuBytes: number, columns: number): string {
    const steps = this.#run?.steps ?? step;
    const recent = this.#recent.reduce(add, NONE);
    const parts = [
      `step ${formatNumber(step)} of ${formatNumber(steps)}`,
      bar(step / steps),
      `loss ${(recent.loss / recent.steps).toFixed(3)}`,
      ...timeLeft(this.#time?.left),
      `${formatNumber(rate(recent))} ${this.#run?.unit ?? "tokens"}/s`,
      `lr ${formatMeasure(learning_rate)}`,
      formatBytes(gpuBytes),
      ...(this.#valid === undefined ? [] : [`valid ${this.#valid.toFixed(3)}`]),
    ];
    return joinParts(parts, columns);
  }

  #row({ step, learning_rate }: StepMetrics, gpuBytes: number): string {
    const steps = this.#run?.steps ?? step;
    return [
      `step ${formatNumber(step)} of ${formatNumber(steps)}`,
      `loss ${(this.#span.loss / this.#span.steps).toFixed(4)}`,
      `${formatNumber(rate(this.#span))} ${this.#run?.unit ?? "tokens"}/s`,
      `lr ${formatMeasure(learning_rate)}`,
      formatBytes(gpuBytes),
      ...timeLeft(this.#time?.left),
    ].join("  ");
  }
}

function add(a: Span, b: Span): Span {
  return {
    steps: a.steps + b.steps,
    loss: a.loss + b.loss,
    tokens: a.tokens + b.tokens,
    seconds: a.seconds + b.seconds,
  };
}

function rate({ tokens, seconds }: Span): number {
  return seconds > 0 ? tokens / seconds : 0;
}

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
