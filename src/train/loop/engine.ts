import type { Device } from "../../compute/device/device.ts";
import { STEP_STATE } from "../../compute/device/families/optimizer.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { Run } from "../../compute/tensor/run.ts";
import { Tape } from "../../compute/tensor/tape.ts";
import { ALONE, type Processes, standIn } from "../../mpi/processes.ts";
import type { Step, StepPlan } from "../../data/batches/types.ts";
import type { TrainedModel } from "../model/subject.ts";
import type { Task } from "../model/task.ts";
import { AdamW, addLosses, type AdamWSettings, type StepOutcome } from "./adamw.ts";
import { evaluate, type Evaluated, type Evaluating, type Evaluation, meanLoss, microBatchesOf } from "./evaluation.ts";
import { ShardSums } from "./shard-sums.ts";
import type { PassKind } from "../../adapters/method/training.ts";

export interface EngineOptions {
  readonly optimizer: AdamWSettings;
  /** Recompute each layer's activations in the backward pass. */
  readonly checkpointing: boolean;
  readonly staging: Staging;
  /** Of a step; 1 by default. */
  readonly shards?: number;
  /** That share the shards of a step, and an evaluation. */
  readonly processes?: Processes;
}

/** Computes steps and evaluations on the GPU. It knows nothing of schedules, files or signals. */
export class Engine<Batch> implements Disposable {
  readonly #gpu: Device;
  readonly #model: TrainedModel<Batch>;
  readonly #options: EngineOptions;
  readonly #adamw: AdamW;
  readonly #run: Run;
  readonly #tape: Tape;
  /** Where a step has several. */
  readonly #shards: ShardSums | undefined;

  constructor(gpu: Device, model: TrainedModel<Batch>, options: EngineOptions) {
    this.#gpu = gpu;
    this.#model = model;
    this.#options = options;
    this.#adamw = new AdamW(gpu, model.parameters, options.optimizer);
    this.#run = new Run(gpu, options.staging);
    this.#tape = new Tape(this.#run);
    const { shards = 1, processes = ALONE } = options;
    this.#shards = shards > 1 ? new ShardSums(gpu, this.#run, model.parameters, shards, processes) : undefined;
    // Each is a matrix of its own.
    for (const { value, gradient } of model.method.watched()) this.#tape.watch(value, gradient, value.offset);
  }

  /** Gives parameters the initial values that depend on the frozen weights, which have been read. @throws RandloraError `gpu` */
  async begin(): Promise<void> {
    this.#model.method.begin?.(this.#run);
    await this.#run.submit();
  }

  /**
   * Sends a step to the GPU: losses and gradients of every micro-batch, then the update. Does not wait for it.
   * @param headRate of what is marked as a head; by default the same
   * @returns what the step found out, once the GPU has done it
   * @throws RandloraError `memory`, `gpu`
   */
  async step(
    step: Step<Batch>,
    learningRate: number,
    headRate = learningRate,
  ): Promise<{ outcome: Promise<StepOutcome> }> {
    await this.#recordStep(step, { learningRate, headRate });
    const outcome = this.#adamw.read();
    outcome.catch(() => {}); // the caller awaits it a step later
    return { outcome };
  }

  /**
   * Takes all the memory that a step and an evaluation take, and gives it back. Nothing is computed: parameters stay.
   * @throws RandloraError `memory`, `gpu`
   */
  async rehearse(step: Step<Batch>, evaluated: Batch | undefined): Promise<void> {
    await this.#recordStep(step, { learningRate: 0, headRate: 0 }, false);
    if (evaluated !== undefined) {
      this.#model.method.prepare(this.#run);
      const { judge: asked } = this.#model.task;
      if (asked === undefined) this.#losses(this.#run, evaluated, { kind: "evaluate" });
      else asked.logits(this.#run, this.#model.method.linears({ kind: "evaluate" }), evaluated);
      await this.#forgetRecorded();
    }
    // Buffers that wait to be used again must not need more than this.
    this.#gpu.memory.stayWithinPeak();
  }

  /** Forgets what was recorded, when the GPU has said whether there is room for it. @throws RandloraError `memory`, `gpu` */
  async #forgetRecorded(): Promise<void> {
    await this.#gpu.idle();
    this.#run.discard();
  }

  async #recordStep(
    { index, shards, targets }: Step<Batch>,
    { learningRate, headRate }: { readonly learningRate: number; readonly headRate: number },
    isSent = true,
  ): Promise<void> {
    const { task, method } = this.#model;
    const send = () => (isSent ? this.#run.submit() : this.#forgetRecorded());
    method.prepare(this.#run);
    const tape = this.#tape;
    const sums = this.#shards;
    const loss = sums?.loss ?? this.#adamw.loss;
    for (const [own, { first, microBatches }] of shards.entries()) {
      let at = first;
      for await (const batch of microBatches) {
        const losses = this.#losses(tape, batch, { kind: "train", step: index, microBatch: at });
        addLosses(this.#run, losses, 1 / targets, loss, STEP_STATE.loss, at === first);
        const seed = new Float32Array(task.termsOf(batch)).fill(1 / targets);
        const gradient = this.#run.upload("gradient", losses.shape, seed);
        tape.backward(losses, gradient);
        tape.release(losses);
        this.#run.release(gradient);
        await send();
        at++;
      }
      method.finish(this.#run);
      if (sums === undefined) continue;
      await send();
      await sums.add(own === shards.length - 1, send);
    }
    if (sums !== undefined && isSent) {
      await sums.addOthers();
      this.#adamw.takeLoss(sums.loss);
      this.#gpu.clear([sums.loss.buffer]);
    }
    this.#adamw.update(this.#run, index + 1, learningRate, headRate);
    await send();
  }

  /**
   * The mean loss over all targets of a plan; where the task tells classes apart, what it judges by.
   * @param signal ends it early: the result is then undefined
   */
  async evaluate(plan: Evaluated<Batch>, signal?: AbortSignal): Promise<Evaluation | undefined> {
    return await evaluate(this.#evaluating(this.#options.processes ?? ALONE), plan, signal);
  }

  /** The mean loss over the targets of the first of these micro-batches, in nats. */
  async sampleLoss(step: Step<Batch>): Promise<number | undefined> {
    for await (const first of microBatchesOf(step)) {
      const shards = [{ first: 0, microBatches: [first] }];
      const only = { ...step, shards, targets: this.#model.task.termsOf(first) };
      return await meanLoss(this.#evaluating(ALONE), { length: 1, step: () => only });
    }
    return undefined;
  }

  /** Gives back what the engine holds itself; not the model. */
  [Symbol.dispose](): void {
    this.#run[Symbol.dispose]();
    this.#adamw.release();
    this.#shards?.release();
  }

  #evaluating(processes: Processes): Evaluating<Batch> {
    const { task, method } = this.#model;
    return { gpu: this.#gpu, run: this.#run, task, method, options: this.#options, processes };
  }

  #losses(recorder: Run | Tape, batch: Batch, pass: PassKind) {
    const { task, method } = this.#model;
    return task.losses(recorder, method.linears(pass), batch, this.#options);
  }
}

/**
 * GPU bytes that a run takes at most: what it begins with, a step and an evaluation of the largest micro-batches, recorded on a GPU that
 * counts buffers instead of making them.
 * @param counting where `model` was placed
 */
export async function estimateBytes<Batch>(
  counting: Device,
  model: TrainedModel<Batch>,
  options: EngineOptions,
  steps: StepPlan<Batch>,
  validation: StepPlan<Batch> | undefined,
): Promise<number> {
  using engine = new Engine(counting, model, { ...options, processes: standIn(options.processes ?? ALONE) });
  const { task } = model;
  await model.begin?.();
  await (
    await engine.step(largestStep(task, steps), 0)
  ).outcome;
  if (validation !== undefined) {
    const largest = task.probe(validation.largest);
    const only = {
      index: 0,
      epoch: 0,
      shards: [{ first: 0, microBatches: [largest] }],
      targets: task.termsOf(largest),
      tokens: 0,
    };
    await engine.evaluate({ length: 1, step: () => only });
  }
  return counting.memory.peakLiveBytes;
}

/** A step whose micro-batches are as large as the largest one of a plan. */
export function largestStep<Batch>(task: Task<Batch>, { largest }: StepPlan<Batch>): Step<Batch> {
  const batch = task.probe(largest);
  return {
    index: 0,
    epoch: 0,
    shards: [{ first: 0, microBatches: [batch, batch] }],
    targets: task.termsOf(batch) * 2,
    tokens: largest.tokens * 2,
  };
}
