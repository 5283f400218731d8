import type { Device } from "../../compute/device/device.ts";
import type { Step, StepPlan } from "../../data/batches/types.ts";
import { ALONE, standIn } from "../../mpi/processes.ts";
import type { Task } from "../model/task.ts";
import { Engine, type EngineOptions } from "./engine.ts";
import type { TrainedModel } from "../model/subject.ts";

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
