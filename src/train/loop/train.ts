import { ALONE, gatherNumbers, isAny, type Processes } from "../../mpi/processes.ts";
import type { StepOutcome } from "./adamw.ts";
import type { Progress } from "../../models/folder/run-states.ts";
import { usualInterval } from "./evaluation.ts";
import { diverged, RunRecord, SaveClock, type TrainJob, type TrainOutcome } from "./record.ts";
import { ratesAt } from "../settings/schedule.ts";
import type { Ending, StepMetrics, TrainObserver } from "../types.ts";

/** A step that the GPU works on. */
interface Pending {
  readonly step: number;
  readonly learningRate: number;
  readonly targets: number;
  readonly tokens: number;
  readonly outcome: Promise<StepOutcome>;
}

/**
 * The training loop: steps, evaluations, saves, until the run is over, nothing improves any more, or the signal comes
 * (the step is then finished and saved). Prints nothing: `observer` is told.
 *
 * The host reads what a step found out while the GPU computes the next one; before an evaluation and a save it catches
 * up.
 * @throws RandloraError `numeric` naming the step whose loss or gradients are not finite: the newest state that a good
 *   step was taken from stays; `file` when something cannot be written: the states before are as they were; `memory`, `gpu`
 */
export async function train<Batch>(
  job: TrainJob<Batch>,
  observer: TrainObserver,
  signal: AbortSignal,
): Promise<TrainOutcome> {
  // One process writes for all.
  await using record = (job.processes ?? ALONE).rank === 0 ? await RunRecord.open(job) : undefined;
  return await new Loop(job, observer, record).run(signal);
}

/** The steps between validations; undefined without validation data. */
export function validateEvery<Batch>(
  job: Pick<TrainJob<Batch>, "settings" | "steps" | "validation">,
): number | undefined {
  const { settings, steps, validation } = job;
  return validation && (settings.evalEvery ?? usualInterval(steps.length, validation.length));
}

class Loop<Batch> {
  readonly #job: TrainJob<Batch>;
  readonly #observer: TrainObserver;
  /** Undefined where another process writes it. */
  readonly #record: RunRecord | undefined;
  readonly #processes: Processes;
  #progress: Progress;
  #saved: number | undefined;
  #pending: Pending | undefined;
  #lastTime = performance.now();
  readonly #clock = new SaveClock();

  constructor(job: TrainJob<Batch>, observer: TrainObserver, record: RunRecord | undefined) {
    this.#job = job;
    this.#observer = observer;
    this.#record = record;
    this.#processes = job.processes ?? ALONE;
    this.#progress = job.progress;
    this.#saved = job.resumed ? job.progress.step : undefined;
  }

  async run(signal: AbortSignal): Promise<TrainOutcome> {
    const ending = await this.#untilEnd(signal);
    // Of a run that is interrupted the next step, once it is resumed, tells whether its newest state is good.
    if (ending !== "interrupted") await this.#record?.prune(this.#saved);
    return { ending, progress: this.#progress };
  }

  async #untilEnd(signal: AbortSignal): Promise<Ending> {
    const { steps, resumed, model } = this.#job;
    // A run that fails before its first save still has what it began with; states of whole models are too large for that.
    const first = model.result === "model" ? 1 : 0;
    // A process may have died between the state and the folders that are made from it.
    if (resumed) await this.#record?.refresh(this.#progress);
    for (let step = this.#progress.step; ; step++) {
      const isLast = step >= steps.length;
      const isSaveDue = step >= first && (isLast || (await this.#isSaveDue(step)));
      const isEvaluationDue = this.#isEvaluationDue(step, isLast);
      // Asked once: a signal that comes later is for the next round, when the GPU's step has been read.
      const isStopping = await isAny(this.#processes, signal.aborted);
      if (isSaveDue || isEvaluationDue || isStopping) await this.#catchUp();
      const isBest = isEvaluationDue && (await this.#evaluate(step, signal));
      const isInterrupted = isStopping || (isEvaluationDue && (await isAny(this.#processes, signal.aborted)));
      if (isLast && this.#saved !== step) await this.#judgeLast(step);
      if (this.#saved === step) {
        // Its evaluation had been interrupted, and is made up for.
        if (isBest) await this.#record?.amend(this.#progress);
      } else if (isSaveDue || (isBest && step >= first) || isInterrupted) await this.#save();
      // No state, which is several times as large: a run that is killed before its first one begins anew.
      else if (isBest) await this.#record?.refreshBest();
      // The evaluation that the run ends with is made up for when it is resumed.
      const isCutOff = isEvaluationDue && this.#progress.evaluated !== step;
      if (isLast && !isCutOff) return "finished";
      if (this.#isStuck()) {
        await this.#save();
        return "early-stop";
      }
      if (isInterrupted) return "interrupted";
      await this.#step(step + 1);
    }
  }

  /** Sends a step to the GPU, then reads what the one before it found out. */
  async #step(step: number): Promise<void> {
    const { settings, engine, steps } = this.#job;
    const plan = await steps.step(step - 1);
    const { learningRate, headRate } = ratesAt(settings, step, steps.length);
    const { outcome } = await engine.step(plan, learningRate, headRate);
    const before = this.#pending;
    this.#pending = { step, learningRate, targets: plan.targets, tokens: plan.tokens, outcome };
    if (before !== undefined) await this.#finish(before);
    // Of several processes a step has waited for all gradients: little of it is left.
    if (this.#processes.size > 1) await this.#catchUp();
  }

  async #catchUp(): Promise<void> {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) await this.#finish(pending);
  }

  /** What a step found out goes to the metrics and the observer. */
  async #finish({ step, learningRate, targets, tokens, outcome }: Pending): Promise<void> {
    const { loss, gradNorm, halted } = await outcome;
    if (halted) await this.#diverged(step, loss, gradNorm);
    const now = performance.now();
    const seconds = (now - this.#lastTime) / 1000;
    this.#lastTime = now;
    const metrics: StepMetrics = {
      step,
      loss,
      learning_rate: learningRate,
      grad_norm: gradNorm,
      tokens: targets,
      seconds,
    };
    this.#progress = { ...this.#progress, step, loss, tokens: this.#progress.tokens + targets };
    await this.#record?.append(metrics);
    this.#observer.step(metrics, { gpuBytes: this.#job.gpu.memory.liveBytes, totalTokens: tokens });
    if (this.#saved === step - 1) await this.#record?.confirm(step - 1);
  }

  /**
   * What the last update made is no good, whether it shows in the loss or in the gradients: where it was saved, the last
   * state from before it is gone back to.
   */
  async #diverged(step: number, loss: number, gradNorm: number): Promise<never> {
    this.#pending = undefined;
    const what = Number.isFinite(loss) ? `the gradients' norm is ${gradNorm}` : `the loss is ${loss}`;
    const isSaved = step > 1 && this.#saved === step - 1;
    const kept = isSaved ? await this.#goBack(step - 1) : this.#saved;
    await this.#record?.prune(this.#saved);
    throw diverged(step, what, kept);
  }

  /** @returns the step of the state that is gone back to; undefined where there is none */
  async #goBack(step: number): Promise<number | undefined> {
    const older = await this.#record?.goBack(this.#progress, step);
    if (older === undefined) return undefined;
    this.#progress = older.progress;
    this.#saved = older.progress.step;
    return this.#saved;
  }

  /** By the number of steps, or by the time that the process which saves has measured. */
  async #isSaveDue(step: number): Promise<boolean> {
    const { saveEvery } = this.#job.settings;
    if (saveEvery !== null) return step % saveEvery === 0;
    return step === 0 || (await isAny(this.#processes, this.#record !== undefined && this.#clock.isDue));
  }

  #isEvaluationDue(step: number, isLast: boolean): boolean {
    const every = validateEvery(this.#job);
    if (every === undefined || this.#progress.evaluated === step) return false;
    return step % every === 0 || isLast;
  }

  /** @returns whether it was the best one so far */
  async #evaluate(step: number, signal: AbortSignal): Promise<boolean> {
    const { engine, validation } = this.#job;
    if (validation === undefined) return false;
    // Each process has as many of its batches.
    let done = 0;
    const total = Math.ceil(validation.length / this.#processes.size);
    const next = (index: number) => {
      this.#observer.pause("validating", done++, total);
      return validation.step(index);
    };
    const found = await engine.evaluate({ length: validation.length, step: next }, signal);
    if (found === undefined) return false; // interrupted: the resumed run makes up for it
    const { loss: validLoss, accuracy } = found;
    if (!Number.isFinite(validLoss)) {
      // A state of this step was saved before the evaluation, which had been interrupted.
      const kept = step > 0 && this.#saved === step ? await this.#goBack(step) : this.#saved;
      throw diverged(step, `the validation loss is ${validLoss}`, kept, step > 0);
    }
    const { best, evaluationsSinceBest } = this.#progress;
    const isBest = best === null || validLoss < best.validLoss;
    this.#progress = {
      ...this.#progress,
      validLoss,
      ...(accuracy === undefined ? {} : { validAccuracy: accuracy }),
      evaluated: step,
      best: isBest ? { step, validLoss } : best,
      evaluationsSinceBest: isBest ? 0 : evaluationsSinceBest + 1,
    };
    const metrics = { step, valid_loss: validLoss, ...(accuracy === undefined ? {} : { valid_accuracy: accuracy }) };
    await this.#record?.append(metrics);
    this.#observer.evaluation(metrics, isBest);
    this.#lastTime = performance.now();
    return isBest;
  }

  /** What the last update made shows in no further step: without an evaluation, its own samples judge it. */
  async #judgeLast(step: number): Promise<void> {
    const { engine, steps, validation } = this.#job;
    if (validation !== undefined) return;
    const own = await engine.sampleLoss(await steps.step(step - 1));
    // The first sample's, whose ever it is.
    const [loss] = await gatherNumbers(this.#processes, own === undefined ? [] : [own]);
    if (Number.isFinite(loss)) return;
    throw diverged(step, `after the last update the loss is ${loss}`, this.#saved, true);
  }

  #isStuck(): boolean {
    const { earlyStop } = this.#job.settings;
    return earlyStop > 0 && this.#progress.evaluationsSinceBest >= earlyStop;
  }

  async #save(): Promise<void> {
    const { step } = this.#progress;
    if (this.#saved === step) return;
    this.#observer.pause("saving", 0, 1);
    await this.#clock.time(async () => await this.#record?.save(this.#progress, this.#saved));
    this.#saved = step;
    this.#observer.saved(step);
    this.#lastTime = performance.now();
  }
}
