import type { Device } from "../../compute/device/device.ts";
import { STEP_STATE } from "../../compute/device/families/optimizer.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { RandloraError } from "../../files/errors.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";
import { Run } from "../../compute/tensor/run.ts";
import { Tape } from "../../compute/tensor/tape.ts";
import { ALONE, gatherNumbers, isAny, ownRange, type Processes } from "../../mpi/processes.ts";
import type { Step, StepPlan } from "../../data/batches/types.ts";
import { type Judge, judge } from "../model/judge.ts";
import type { Task } from "../model/task.ts";
import { AdamW, addLosses, type AdamWSettings, type StepOutcome } from "./adamw.ts";
import { ShardSums } from "./shard-sums.ts";
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
  /** Of a step; 1 by default. */
  readonly shards?: number;
  /** That share the shards of a step, and an evaluation. */
  readonly processes?: Processes;
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
    const { judge: asked } = this.#model.task;
    if (asked !== undefined) return await this.#judge(asked, plan, signal);
    const loss = await this.#meanLoss(plan, this.#processes, signal);
    return loss === undefined ? undefined : { loss };
  }

  async #judge(asked: Judge<Batch>, plan: Evaluated<Batch>, signal?: AbortSignal): Promise<Evaluation | undefined> {
    const run = this.#run;
    const { method } = this.#model;
    method.prepare(run);
    await run.submit();
    const linears = method.linears({ kind: "evaluate" });
    await asked.begin(linears);
    // The loss of each sample, and whether it is right.
    const verdicts: number[] = [];
    for await (const step of ownSteps(plan, this.#processes, signal)) {
      if (step === "stopped") return undefined;
      for await (const batch of microBatchesOf(step)) {
        const logits = run.keep(asked.logits(run, linears, batch));
        try {
          await run.submit();
          const [rows, classes] = logits.shape;
          const numbers = await readRows(this.#gpu, logits, 0, rows);
          for (const [row, label] of asked.labelsOf(batch).entries()) {
            const verdict = judge(numbers.subarray(row * classes, (row + 1) * classes), label);
            verdicts.push(verdict.loss, Number(verdict.isRight));
          }
        } finally {
          this.#gpu.memory.release(logits.buffer);
        }
      }
    }
    const all = await gatherNumbers(this.#processes, verdicts);
    const samples = all.length / 2;
    if (samples === 0) throw new RandloraError("data", "nothing of the validation data can be read");
    let [right, loss] = [0, 0];
    for (const [at, number] of all.entries()) {
      if (at % 2 === 0) loss += number;
      else right += number;
    }
    return { loss: loss / samples, accuracy: right / samples };
  }

  async #meanLoss(plan: Evaluated<Batch>, processes: Processes, signal?: AbortSignal): Promise<number | undefined> {
    const run = this.#run;
    this.#model.method.prepare(run);
    const sums = run.keep(run.allocate("evaluation", [1, plan.length]));
    try {
      const targets: number[] = [];
      for await (const step of ownSteps(plan, processes, signal)) {
        if (step === "stopped") return undefined;
        const slot = targets.push(step.targets) - 1;
        let isFirst = true;
        for await (const batch of microBatchesOf(step)) {
          const losses = this.#losses(run, batch, { kind: "evaluate" });
          addLosses(run, losses, 1, sums, slot, isFirst);
          run.release(losses);
          isFirst = false;
        }
        await run.submit();
        // So that an interruption is answered soon, and not a queue full of passes is waited for.
        await this.#gpu.idle();
      }
      const range = { buffer: sums.buffer, offset: 0, size: plan.length * 4 };
      const parts = await this.#gpu.readWith([range], async ([bytes]) => new Float32Array(bytes?.slice().buffer ?? []));
      const losses = await gatherNumbers(processes, [...parts.subarray(0, targets.length)]);
      const counts = await gatherNumbers(processes, targets);
      return sum(losses) / sum(counts);
    } finally {
      this.#gpu.memory.release(sums.buffer);
    }
  }

  /** The mean loss over the targets of the first of these micro-batches, in nats. */
  async sampleLoss(step: Step<Batch>): Promise<number | undefined> {
    for await (const first of microBatchesOf(step)) {
      const shards = [{ first: 0, microBatches: [first] }];
      const only = { ...step, shards, targets: this.#model.task.termsOf(first) };
      return await this.#meanLoss({ length: 1, step: () => only }, ALONE);
    }
    return undefined;
  }

  get #processes(): Processes {
    return this.#options.processes ?? ALONE;
  }

  /** Gives back what the engine holds itself; not the model. */
  [Symbol.dispose](): void {
    this.#run[Symbol.dispose]();
    this.#adamw.release();
    this.#shards?.release();
  }

  #losses(recorder: Run | Tape, batch: Batch, pass: PassKind) {
    const { task, method } = this.#model;
    return task.losses(recorder, method.linears(pass), batch, this.#options);
  }
}

/** Of an evaluation's steps those that are this process's, until one is told to stop. */
async function* ownSteps<Batch>(
  plan: Evaluated<Batch>,
  processes: Processes,
  signal?: AbortSignal,
): AsyncGenerator<Step<Batch> | "stopped"> {
  const [from, end] = ownRange(processes, plan.length);
  // As many rounds everywhere: all stop in the same one.
  for (let round = 0; round < Math.ceil(plan.length / processes.size); round++) {
    if (await isAny(processes, signal?.aborted === true)) yield "stopped";
    if (from + round < end) yield await plan.step(from + round);
  }
}

async function* microBatchesOf<Batch>({ shards }: Step<Batch>): AsyncGenerator<Batch> {
  for (const { microBatches } of shards) yield* microBatches;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
