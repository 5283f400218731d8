import type { Device } from "../../compute/device/device.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { RandloraError } from "../../files/errors.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";
import { Run } from "../../compute/tensor/run.ts";
import { Tape } from "../../compute/tensor/tape.ts";
import type { Step, StepPlan } from "../../data/batches/types.ts";
import { type Judge, judge } from "../model/judge.ts";
import type { Task } from "../model/task.ts";
import { AdamW, addLosses, type AdamWSettings, type StepOutcome } from "./adamw.ts";
import type { TrainingDefinition } from "../../adapters/training/definition.ts";
import type { Method, MethodSummary, PassKind } from "../../adapters/training/method.ts";
import type { Parameters } from "../../adapters/training/parameters.ts";

/** A model that is trained: its task, and how its weights depend on parameters. */
export interface TrainedModel<Batch> {
  readonly task: Task<Batch>;
  /** All that is trained. */
  readonly parameters: Parameters;
  readonly method: Method;
  readonly result: TrainingDefinition["result"];
  readonly summary: MethodSummary;
  /** Computes what depends on the frozen weights alone, once these have been read. @throws RandloraError `memory`, `gpu` */
  begin?(): Promise<void>;
  /** Writes the adapter's (or the model's) files into an empty folder. @throws RandloraError `file`, `gpu` */
  save(folder: string): Promise<void>;
}

export interface EngineOptions {
  readonly optimizer: AdamWSettings;
  /** Recompute each layer's activations in the backward pass. */
  readonly checkpointing: boolean;
  readonly staging: Staging;
}

/** What an evaluation found out. */
export interface Evaluation {
  /** Mean, in nats. */
  readonly loss: number;
  /** The part of the samples that are taken for what they are, of tasks that tell classes apart. */
  readonly accuracy?: number;
}

type Evaluated<Batch> = Pick<StepPlan<Batch>, "length" | "step">;

/** Computes steps and evaluations on the GPU. It knows nothing of schedules, files or signals. */
export class Engine<Batch> implements Disposable {
  readonly #gpu: Device;
  readonly #model: TrainedModel<Batch>;
  readonly #options: EngineOptions;
  readonly #adamw: AdamW;
  readonly #run: Run;
  readonly #tape: Tape;

  constructor(gpu: Device, model: TrainedModel<Batch>, options: EngineOptions) {
    this.#gpu = gpu;
    this.#model = model;
    this.#options = options;
    this.#adamw = new AdamW(gpu, model.parameters, options.optimizer);
    this.#run = new Run(gpu, options.staging);
    this.#tape = new Tape(this.#run);
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
    await this.#recordStep(step, { learningRate, headRate }, () => this.#run.submit());
    const outcome = this.#adamw.read();
    outcome.catch(() => {}); // the caller awaits it a step later
    return { outcome };
  }

  /**
   * Takes all the memory that a step and an evaluation take, and gives it back. Nothing is computed: parameters stay.
   * @throws RandloraError `memory`, `gpu`
   */
  async rehearse(step: Step<Batch>, evaluated: Batch | undefined): Promise<void> {
    const discard = () => this.#run.discard();
    await this.#recordStep(step, { learningRate: 0, headRate: 0 }, discard);
    if (evaluated !== undefined) {
      this.#model.method.prepare(this.#run);
      const { judge: asked } = this.#model.task;
      if (asked === undefined) this.#losses(this.#run, evaluated, { kind: "evaluate" });
      else asked.logits(this.#run, this.#model.method.linears({ kind: "evaluate" }), evaluated);
      discard();
    }
    await this.#gpu.idle();
    // Buffers that wait to be used again must not need more than this.
    this.#gpu.memory.stayWithinPeak();
  }

  async #recordStep(
    { index, microBatches, targets }: Step<Batch>,
    { learningRate, headRate }: { readonly learningRate: number; readonly headRate: number },
    send: () => Promise<void> | void,
  ): Promise<void> {
    const { task, method } = this.#model;
    method.prepare(this.#run);
    const tape = this.#tape;
    let at = 0;
    for await (const batch of microBatches) {
      const losses = this.#losses(tape, batch, { kind: "train", step: index, microBatch: at });
      this.#adamw.addLoss(this.#run, losses, 1 / targets, at === 0);
      const seed = new Float32Array(task.termsOf(batch)).fill(1 / targets);
      const gradient = this.#run.upload("gradient", losses.shape, seed);
      tape.backward(losses, gradient);
      tape.release(losses);
      this.#run.release(gradient);
      await send();
      at++;
    }
    method.finish(this.#run);
    this.#adamw.update(this.#run, index + 1, learningRate, headRate);
    await send();
  }

  /**
   * The mean loss over all targets of a plan; where the task tells classes apart, what it judges by.
   * @param signal ends it early: the result is then undefined
   */
  async evaluate(plan: Evaluated<Batch>, signal?: AbortSignal): Promise<Evaluation | undefined> {
    const { judge: asked } = this.#model.task;
    if (asked !== undefined) return await this.#judge(asked, plan, signal);
    const loss = await this.#meanLoss(plan, signal);
    return loss === undefined ? undefined : { loss };
  }

  async #judge(asked: Judge<Batch>, plan: Evaluated<Batch>, signal?: AbortSignal): Promise<Evaluation | undefined> {
    const run = this.#run;
    const { method } = this.#model;
    method.prepare(run);
    await run.submit();
    const linears = method.linears({ kind: "evaluate" });
    await asked.begin(linears);
    let [samples, right, loss] = [0, 0, 0];
    for (let index = 0; index < plan.length; index++) {
      if (signal?.aborted === true) return undefined;
      for await (const batch of (await plan.step(index)).microBatches) {
        const logits = run.keep(asked.logits(run, linears, batch));
        try {
          await run.submit();
          const [rows, classes] = logits.shape;
          const numbers = await readRows(this.#gpu, logits, 0, rows);
          for (const [row, label] of asked.labelsOf(batch).entries()) {
            const verdict = judge(numbers.subarray(row * classes, (row + 1) * classes), label);
            loss += verdict.loss;
            if (verdict.isRight) right++;
          }
          samples += rows;
        } finally {
          this.#gpu.memory.release(logits.buffer);
        }
      }
    }
    if (samples === 0) throw new RandloraError("data", "nothing of the validation data can be read");
    return { loss: loss / samples, accuracy: right / samples };
  }

  async #meanLoss(plan: Evaluated<Batch>, signal?: AbortSignal): Promise<number | undefined> {
    const run = this.#run;
    this.#model.method.prepare(run);
    const sums = run.keep(run.allocate("evaluation", [1, plan.length]));
    try {
      let targets = 0;
      for (let index = 0; index < plan.length; index++) {
        if (signal?.aborted === true) return undefined;
        const step = await plan.step(index);
        targets += step.targets;
        let isFirst = true;
        for await (const batch of step.microBatches) {
          const losses = this.#losses(run, batch, { kind: "evaluate" });
          addLosses(run, losses, 1, sums, index, isFirst);
          run.release(losses);
          isFirst = false;
        }
        await run.submit();
        // So that an interruption is answered soon, and not a queue full of passes is waited for.
        await this.#gpu.idle();
      }
      const range = { buffer: sums.buffer, offset: 0, size: plan.length * 4 };
      const parts = await this.#gpu.readWith([range], async ([bytes]) => new Float32Array(bytes?.slice().buffer ?? []));
      return parts.reduce((sum, part) => sum + part, 0) / targets;
    } finally {
      this.#gpu.memory.release(sums.buffer);
    }
  }

  /** The mean loss over the targets of a step's first micro-batch, in nats. */
  async sampleLoss(step: Step<Batch>): Promise<number | undefined> {
    for await (const first of step.microBatches) {
      const only = { ...step, microBatches: [first], targets: this.#model.task.termsOf(first) };
      return await this.#meanLoss({ length: 1, step: () => only });
    }
    return undefined;
  }

  /** Gives back what the engine holds itself; not the model. */
  [Symbol.dispose](): void {
    this.#run[Symbol.dispose]();
    this.#adamw.release();
  }

  #losses(recorder: Run | Tape, batch: Batch, pass: PassKind) {
    const { task, method } = this.#model;
    return task.losses(recorder, method.linears(pass), batch, this.#options);
  }
}
