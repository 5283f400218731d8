import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { itemAt } from "../../../files/item-at.ts";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import type { Staging } from "../../../compute/device/staging.ts";
import { dropoutFactor } from "../../../compute/random/dropout.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { Tape } from "../../../compute/tensor/tape.ts";
import { error } from "../../testing/bases.ts";
import { IN, newBatch, sent, TOKENS } from "../../testing/trained-bilinear.ts";
import {
  loraInner,
  MAGNITUDE,
  type MagnitudeCase,
  MODULES,
  normsOf,
  outputs,
  placedMethod,
  randloraInner,
  SEED,
  valuesOf,
} from "../../testing/trained-magnitudes.ts";
import { dropoutMask } from "../../method/training.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

/** One step of two micro-batches: y, ∂loss/∂x and every gradient, beside finite differences of the definition. */
async function step(
  { inner, dropout = 0 }: MagnitudeCase,
  { weight, parameters, method, staging }: Awaited<ReturnType<typeof placedMethod>>,
  index: number,
): Promise<void> {
  const values = await valuesOf(parameters);
  const batches = TOKENS.map(newBatch);
  const masks = batches.map(({ tokens }, microBatch) =>
    MODULES.map((_, module) => {
      const mask = dropoutMask(dropout, SEED, { kind: "train", step: index, microBatch }, module);
      return Float64Array.from({ length: tokens * IN }, (__, at) => dropoutFactor(mask, Math.floor(at / IN), at % IN));
    }),
  );
  const before = { deltas: MODULES.map((_, module) => inner.delta(module, values)), values };
  const norms = normsOf(weight.values, before.deltas);
  const yOf = (at: number, of: typeof before, x: ArrayLike<number>) => {
    const batch = batches[at];
    if (batch === undefined) throw new RangeError(`micro-batch ${at}`);
    return outputs(batch, x, weight.values, { ...of, norms }, masks[at] ?? []);
  };
  /** The loss of a micro-batch: a weighted sum of its outputs. */
  const lossOf = (at: number, of: typeof before, x: ArrayLike<number>) =>
    yOf(at, of, x).reduce((sum, value, i) => sum + value * (batches[at]?.dy[i] ?? NaN), 0);
  /** By number `i` of some; the loss is linear in each, so that the difference is exact but for rounding. */
  const slope = (loss: (moved: Float64Array) => number, of: ArrayLike<number>, i: number) => {
    const moved = (by: number) => {
      const copy = Float64Array.from(of);
      copy[i] = itemAt(copy, i) + by;
      return loss(copy);
    };
    return moved(0.5) - moved(-0.5);
  };
  /** The same with other numbers of one tensor, which is of one module. */
  const movedTo = (name: string, numbersOf: Float64Array): typeof before => {
    const moved = new Map(values).set(name, numbersOf);
    const deltas = before.deltas.map((delta, module) =>
      name.startsWith(`${MODULES[module]?.module}.`) && !name.endsWith(MAGNITUDE) ? inner.delta(module, moved) : delta,
    );
    return { deltas, values: moved };
  };

  using run = new Run(gpu, staging);
  const tape = new Tape(run);
  for (const { value, gradient } of method.watched()) tape.watch(value, gradient, value.offset);
  method.prepare(run);
  for (const [microBatch, batch] of batches.entries()) {
    const linears = method.linears({ kind: "train", step: index, microBatch });
    const { y, dx: found } = await sent(gpu, { run, tape, linears, weight: weight.tensor }, batch);
    expect(error(y, yOf(microBatch, before, batch.x)), "y").toBeLessThan(1e-5);
    const sample = sampleOf(found, 10);
    const wanted = sample.map((i) => slope((moved) => lossOf(microBatch, before, moved), batch.x, i));
    const ours = sample.map((i) => itemAt(found, i));
    expect(error(ours, wanted), "dx").toBeLessThan(1e-5);
  }
  method.finish(run);
  await run.submit();
  const total = (of: typeof before) => batches.reduce((sum, { x }, at) => sum + lossOf(at, of, x), 0);
  for (const [name, old] of values) {
    const found = await parameters.read(name, "gradient");
    const sample = sampleOf(old, 4);
    const wanted = sample.map((i) => slope((moved) => total(movedTo(name, moved)), old, i));
    const ours = sample.map((i) => itemAt(found, i));
    expect(error(ours, wanted), `gradient of ${name}`).toBeLessThan(2e-5);
  }
}

/** Some indices, spread over all. */
function sampleOf({ length }: ArrayLike<number>, count: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * length) / count));
}

async function check(trial: MagnitudeCase): Promise<void> {
  const before = gpu.memory.liveBytes;
  const placed = await placedMethod(gpu, trial);
  const { parameters } = placed;
  await step(trial, placed, 0);
  // An update: other values, and gradients of zero, as between steps.
  for (const { name, shape } of parameters.all) {
    const old = await parameters.read(name);
    parameters.write(
      name,
      "value",
      old.map((value, i) => value + 0.1 * Math.sin(i)),
    );
    parameters.write(name, "gradient", new Float32Array(shape[0] * shape[1]));
  }
  await step(trial, placed, 1);
  placed.release();
  expect(gpu.memory.liveBytes).toBe(before);
}

const WORKGROUP: Staging = { kind: "workgroup" };

describe("y and every gradient are those of the definition, whose norms are constants", () => {
  test("LoRA, workgroup staging", () => check({ inner: loraInner(0), staging: WORKGROUP }));
  test("LoRA", () => check({ inner: loraInner(0) }));
  test("RandLoRA, merged-h+kept", () => check({ inner: randloraInner(0, "merged-h+kept") }));
  test("LoRA, dropout, f32", () => check({ inner: loraInner(0.3), dropout: 0.3, dtype: "F32" }));
  test.each(["factored", "merged-h+kept", "merged-g", "merged-g+kept+summed"])("RandLoRA, %s, dropout", (order) =>
    check({ inner: randloraInner(0.3, order), dropout: 0.3 }),
  );
});
