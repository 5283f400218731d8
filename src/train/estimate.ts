import type { Gpu } from "../gpu/gpu.ts";
import type { Step, StepPlan } from "../data/types.ts";
import type { MicroBatch } from "../text/data/types.ts";
import { Engine, type EngineOptions, type TrainedModel } from "./engine.ts";

/**
 * GPU bytes that a run takes at most: a step and an evaluation of the largest micro-batches, recorded on a GPU that
 * counts buffers instead of making them.
 * @param counting where `model` was placed
 */
export async function estimateBytes(
  counting: Gpu,
  model: TrainedModel,
  options: EngineOptions,
  steps: StepPlan<MicroBatch>,
  validation: StepPlan<MicroBatch> | undefined,
): Promise<number> {
  using engine = new Engine(counting, model, options);
  const { contextLength } = model.config;
  await (
    await engine.step(largestStep(steps, contextLength), 0)
  ).outcome;
  if (validation !== undefined) {
    const largest = largestBatch(validation, contextLength);
    const only = { index: 0, epoch: 0, microBatches: [largest], targets: largest.targets.length, tokens: 0 };
    await engine.evaluate({ length: 1, stepsPerEpoch: 1, largest: validation.largest, step: () => only });
  }
  return counting.memory.peakLiveBytes;
}

/** A step whose micro-batches are as large as the largest one of a plan. */
export function largestStep(steps: StepPlan<MicroBatch>, contextLength: number): Step<MicroBatch> {
  const batch = largestBatch(steps, contextLength);
  const { ids, targets } = batch;
  return { index: 0, epoch: 0, microBatches: [batch, batch], targets: targets.length * 2, tokens: ids.length * 2 };
}

/** A micro-batch of the size of a plan's largest one: samples as long as the model takes them. */
export function largestBatch(
  { largest: { tokens, targets } }: StepPlan<MicroBatch>,
  contextLength: number,
): MicroBatch {
  const ids = new Uint32Array(tokens);
  return {
    ids,
    positions: ids.map((_, at) => at % contextLength),
    starts: ids.map((_, at) => at - (at % contextLength)),
    rows: new Uint32Array(targets).map((_, at) => at),
    targets: new Uint32Array(targets),
    samples: 1,
  };
}
