import { expect } from "bun:test";
import { Run } from "../../compute/tensor/run.ts";
import { Tape } from "../../compute/tensor/tape.ts";
import { itemAt } from "../../files/item-at.ts";
import { Engine } from "../loop/engine.ts";
import type { TrainSettings } from "../settings/settings.ts";
import { loadRunData, planRun } from "../text/data.ts";
import { ModelSource } from "../text/model.ts";
import type { ShortRuns } from "./short-runs.ts";

const squaresOf = (sum: number, value: number) => sum + value * value;

/**
 * Holds a method's gradients to the slope of the loss, through a model.
 * @param trained the ends of the names of parameters that are moved together
 * @param within of the slope, which is no plane's
 */
export async function expectSlope(
  runs: ShortRuns,
  folder: string,
  settings: TrainSettings,
  trained: readonly string[],
  within = 0.005,
): Promise<void> {
  const { steps } = planRun(settings, (await loadRunData(settings, folder)).data);
  await using source = await ModelSource.open(settings, { folder, weights: undefined });
  const staging = runs.gpu.staging;
  const place = { staging, tokens: 128, microBatches: 1, budget: 2 ** 30, choices: undefined };
  using model = await source.place(runs.gpu, place);
  await model.weights.fill();
  const { parameters, task } = model;
  {
    using run = new Run(runs.gpu, staging);
    model.method.begin?.(run);
    await run.submit();
  }
  // Away from its start, where some gradients are zero.
  for (const [salt, { name }] of parameters.all.entries()) {
    const start = (await parameters.read(name)).map((value, i) => value + 0.02 * Math.sin(i * 1.7 + salt));
    parameters.write(name, "value", start);
  }
  const step = steps.step(0);
  const batch = itemAt(itemAt(step.shards, 0).microBatches, 0);
  const count = task.termsOf(batch);
  {
    using run = new Run(runs.gpu, staging);
    const tape = new Tape(run);
    const { method: own } = model;
    for (const { value, gradient } of own.watched()) tape.watch(value, gradient, value.offset);
    own.prepare(run);
    const linears = own.linears({ kind: "train", step: 0, microBatch: 0 });
    const losses = task.losses(tape, linears, batch, { checkpointing: false });
    const ones = new Float32Array(count).fill(1 / count);
    tape.backward(losses, run.upload("gradient", losses.shape, ones));
    tape.release(losses);
    own.finish(run);
    await run.submit();
  }
  const { betas, eps, weightDecay, gradClip } = settings;
  const optimizer = { betas, eps, weightDecay, gradClip };
  const own = parameters.all.map(({ name }) => name);
  const values = new Map<string, { start: Float32Array<ArrayBuffer>; gradient: Float32Array<ArrayBuffer> }>();
  for (const name of own) {
    values.set(name, { start: await parameters.read(name), gradient: await parameters.read(name, "gradient") });
  }
  using engine = new Engine(runs.gpu, model, { optimizer, checkpointing: false, staging });
  for (const ending of trained) {
    const moving = own.filter((name) => name.endsWith(ending));
    const squares = moving.flatMap((name) => [...(values.get(name)?.gradient ?? [])]).reduce(squaresOf, 0);
    expect(squares, ending).toBeGreaterThan(0);
    // Along the gradient the loss changes by `by` as long as it is a plane.
    const lossAt = async (by: number) => {
      for (const name of moving) {
        const { start, gradient } = values.get(name) ?? { start: new Float32Array(), gradient: [] };
        const moved = start.map((value, i) => value + (by / squares) * itemAt(gradient, i));
        parameters.write(name, "value", moved);
      }
      return (await engine.sampleLoss(step)) ?? NaN;
    };
    const h = 0.01;
    const near = (await lossAt(h)) - (await lossAt(-h));
    const far = (await lossAt(2 * h)) - (await lossAt(-2 * h));
    expect(Math.abs((8 * near - far) / (12 * h) - 1), ending).toBeLessThan(within);
    await lossAt(0);
  }
}
