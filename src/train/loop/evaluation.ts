import type { Method } from "../../adapters/method/training.ts";
import type { Device } from "../../compute/device/device.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";
import type { Run } from "../../compute/tensor/run.ts";
import type { Step, StepPlan } from "../../data/batches/types.ts";
import { RandloraError } from "../../files/errors.ts";
import { gatherNumbers, isAny, ownRange, type Processes } from "../../mpi/processes.ts";
import { type Judge, judge, type LossOptions, type Task } from "../model/task.ts";
import { addLosses } from "./adamw.ts";

/** What an evaluation computes with. */
export interface Evaluating<Batch> {
  readonly gpu: Device;
  /** Empty before and after. */
  readonly run: Run;
  readonly task: Task<Batch>;
  readonly method: Method;
  readonly options: LossOptions;
  /** That share the steps. */
  readonly processes: Processes;
}

/** The steps of an evaluation. */
export type Evaluated<Batch> = Pick<StepPlan<Batch>, "length" | "step">;

/** What an evaluation found out. */
export interface Evaluation {
  /** Mean, in nats. */
  readonly loss: number;
  /** The part of the samples that are taken for what they are, of tasks that tell classes apart. */
  readonly accuracy?: number;
}

/**
 * The mean loss over all targets of a plan; where the task tells classes apart, what it judges by.
 * @param signal ends it early: the result is then undefined
 * @throws RandloraError `data` where no sample can be read; `memory`, `gpu`
 */
export async function evaluate<Batch>(
  on: Evaluating<Batch>,
  plan: Evaluated<Batch>,
  signal?: AbortSignal,
): Promise<Evaluation | undefined> {
  const { judge: asked } = on.task;
  if (asked !== undefined) return await judgeSamples(on, asked, plan, signal);
  const loss = await meanLoss(on, plan, signal);
  return loss === undefined ? undefined : { loss };
}

async function judgeSamples<Batch>(
  { gpu, run, method, processes }: Evaluating<Batch>,
  asked: Judge<Batch>,
  plan: Evaluated<Batch>,
  signal?: AbortSignal,
): Promise<Evaluation | undefined> {
  method.prepare(run);
  await run.submit();
  const linears = method.linears({ kind: "evaluate" });
  await asked.begin(linears);
  // The loss of each sample, and whether it is right.
  const verdicts: number[] = [];
  for await (const step of ownSteps(plan, processes, signal)) {
    if (step === "stopped") return undefined;
    for await (const batch of microBatchesOf(step)) {
      const logits = run.keep(asked.logits(run, linears, batch));
      try {
        await run.submit();
        const [rows, classes] = logits.shape;
        const numbers = await readRows(gpu, logits, 0, rows);
        for (const [row, label] of asked.labelsOf(batch).entries()) {
          const verdict = judge(numbers.subarray(row * classes, (row + 1) * classes), label);
          verdicts.push(verdict.loss, Number(verdict.isRight));
        }
      } finally {
        gpu.memory.release(logits.buffer);
      }
    }
  }
  const all = await gatherNumbers(processes, verdicts);
  const samples = all.length / 2;
  if (samples === 0) throw new RandloraError("data", "nothing of the validation data can be read");
  return {
    loss: sum(all.filter((_, at) => at % 2 === 0)) / samples,
    accuracy: sum(all.filter((_, at) => at % 2 === 1)) / samples,
  };
}

/** @returns the mean loss over all targets of a plan, in nats; undefined where `signal` ended it @throws RandloraError `memory`, `gpu` */
export async function meanLoss<Batch>(
  { gpu, run, task, method, options, processes }: Evaluating<Batch>,
  plan: Evaluated<Batch>,
  signal?: AbortSignal,
): Promise<number | undefined> {
  method.prepare(run);
  const sums = run.keep(run.allocate("evaluation", [1, plan.length]));
  try {
    const targets: number[] = [];
    for await (const step of ownSteps(plan, processes, signal)) {
      if (step === "stopped") return undefined;
      const slot = targets.push(step.targets) - 1;
      let isFirst = true;
      for await (const batch of microBatchesOf(step)) {
        const losses = task.losses(run, method.linears({ kind: "evaluate" }), batch, options);
        addLosses(run, losses, 1, sums, slot, isFirst);
        run.release(losses);
        isFirst = false;
      }
      await run.submit();
      // So that an interruption is answered soon, and not a queue full of passes is waited for.
      await gpu.idle();
    }
    const range = { buffer: sums.buffer, offset: 0, size: plan.length * 4 };
    const parts = await gpu.readWith([range], async ([bytes]) => new Float32Array(bytes?.slice().buffer ?? []));
    const losses = await gatherNumbers(processes, [...parts.subarray(0, targets.length)]);
    const counts = await gatherNumbers(processes, targets);
    return sum(losses) / sum(counts);
  } finally {
    gpu.memory.release(sums.buffer);
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

/** The micro-batches of all shards of a step. */
export async function* microBatchesOf<Batch>({ shards }: Step<Batch>): AsyncGenerator<Batch> {
  for (const { microBatches } of shards) yield* microBatches;
}

/**
 * The steps between evaluations, where nothing is said: a run has 20, whatever its length, and 5 at least where more of them
 * would pass over more batches than training does.
 * @param steps of the run
 * @param batches of an evaluation
 */
export function usualInterval(steps: number, batches: number): number {
  const count = Math.min(20, Math.max(5, Math.floor(steps / batches)));
  return Math.max(1, Math.ceil(steps / count));
}

/** At most `most` steps of a validation, the same each time, evenly over all of them; null: all. */
export function validationOf<Batch>(plan: StepPlan<Batch>, most: number | null): StepPlan<Batch> {
  const { length, stepsPerEpoch, largest } = plan;
  if (most === null || most >= length) return plan;
  return {
    length: most,
    stepsPerEpoch,
    largest,
    step: (index) => plan.step(Math.floor(((2 * index + 1) * length) / (2 * most))),
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
