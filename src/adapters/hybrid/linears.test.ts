// Both parts in one matrix as a decoder joins it: RandLoRA in each of its orders, LoRA's factors over what it computes.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { itemAt } from "../../files/item-at.ts";
import type { Device } from "../../compute/device/device.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { dropoutFactor, type DropoutMask } from "../../compute/random/dropout.ts";
import { Run } from "../../compute/tensor/run.ts";
import { Tape } from "../../compute/tensor/tape.ts";
import { sliceRows } from "../../compute/tensor/tensor.ts";
import type { OrderPlan } from "../delta/scaled-bases/shape.ts";
import { TrainedBilinear } from "../delta/scaled-bases/trained.ts";
import { TrainingBases } from "../delta/scaled-bases/training-bases.ts";
import { LowRankLinears } from "../delta/low-rank/linears.ts";
import { basesFor, error, numbers, placed, taken } from "../testing/bases.ts";
import {
  frozen,
  IN,
  maskOf,
  modulesOf,
  newBatch,
  OUT,
  PLANS,
  reference,
  ROWS,
  SCALE,
  sent,
  TOKENS,
} from "../testing/trained-bilinear.ts";
import { dropoutMask } from "../method/training.ts";
import { partsOfMatrices } from "../delta/parts.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const SEED = 5;

/** LoRA's factors of the adapted modules but the second, with ranks and scales of their own. */
function factorsOf() {
  return modulesOf()
    .filter((_, at) => at !== 1)
    .map(({ name, first, shape: { out } }, at) => {
      const rank = 3 + at * 2;
      return { name, first, out, rank, scale: 0.5 + at, index: 10 + at, a: numbers(rank * IN), b: numbers(out * rank) };
    });
}

type Factors = ReturnType<typeof factorsOf>[number];

/** What the factors add to y and dx, and their own gradients, in f64. */
function addFactors(
  { first, out, rank, scale, a, b }: Factors,
  { x, dy, tokens }: { x: Float32Array; dy: Float32Array; tokens: number },
  mask: (row: number, col: number) => number,
  y: Float64Array,
  dx: Float64Array,
) {
  const [dA, dB] = [new Float64Array(a.length), new Float64Array(b.length)];
  for (let t = 0; t < tokens; t++) {
    const dropped = Float64Array.from({ length: IN }, (_, i) => itemAt(x, t * IN + i) * mask(t, i));
    for (let k = 0; k < rank; k++) {
      let [inner, dInner] = [0, 0];
      for (let i = 0; i < IN; i++) inner += itemAt(a, k * IN + i) * itemAt(dropped, i);
      for (let o = 0; o < out; o++) {
        const at = t * OUT + first + o;
        y[at] = itemAt(y, at) + scale * itemAt(b, o * rank + k) * inner;
        dB[o * rank + k] = itemAt(dB, o * rank + k) + scale * itemAt(dy, at) * inner;
        dInner += scale * itemAt(dy, at) * itemAt(b, o * rank + k);
      }
      for (let i = 0; i < IN; i++) {
        dA[k * IN + i] = itemAt(dA, k * IN + i) + dInner * itemAt(dropped, i);
        dx[t * IN + i] = itemAt(dx, t * IN + i) + dInner * itemAt(a, k * IN + i) * mask(t, i);
      }
    }
  }
  return { a: dA, b: dB };
}

/** Memory that is not given back fails the test as well. */
async function check(
  plan: OrderPlan,
  rate: number,
  staging: Staging = gpu.staging,
  isBelow: boolean = true,
): Promise<void> {
  const before = gpu.memory.liveBytes;
  await train(plan, rate, staging, isBelow);
  expect(gpu.memory.liveBytes).toBe(before);
}

/** @param isBelow the LoRA adds to what the bilinear method computes, or the other way round */
async function train(plan: OrderPlan, rate: number, staging: Staging, isBelow: boolean): Promise<void> {
  const parts = modulesOf();
  const cpu = basesFor(
    "bf16",
    parts.map(({ shape }) => shape),
  );
  const bases = await TrainingBases.create(gpu, cpu, "peft");
  const weight = frozen(gpu, "BF16");
  const zeros = (rows: number, cols: number) => placed(gpu, [rows, cols], new Float32Array(rows * cols));
  const modules = parts.map(({ name, first, shape, lambda, gamma }) => ({
    name,
    shape,
    weight: sliceRows(weight.tensor, first, shape.out),
    lambda: placed(gpu, [shape.r, shape.bases], lambda),
    gamma: placed(gpu, [shape.bases, shape.cols], gamma),
    lambdaGradient: zeros(shape.r, shape.bases),
    gammaGradient: zeros(shape.bases, shape.cols),
  }));
  const owner = new DisposableStack();
  const trained = new TrainedBilinear(ownedBy(owner, gpu), {
    bases,
    modules,
    scale: SCALE,
    dropout: rate > 0,
    plans: [plan],
  });
  const factors = factorsOf().map((one) => ({
    ...one,
    onGpu: { a: placed(gpu, [one.rank, IN], one.a), b: placed(gpu, [one.out, one.rank], one.b) },
    gradients: { a: zeros(one.rank, IN), b: zeros(one.out, one.rank) },
    wanted: { a: new Float64Array(one.a.length), b: new Float64Array(one.b.length) },
  }));
  let first = 0;
  const tensors = new Map(
    ROWS.map(({ name, out }) => {
      first += out;
      return [`${name}.weight`, sliceRows(weight.tensor, first - out, out)] as const;
    }),
  );
  const placedFactors = new Map(factors.map(({ name, onGpu, scale, index }) => [name, { ...onGpu, scale, index }]));
  const wanted = parts.map(({ shape: { r, bases: n, cols } }) => {
    return { lambda: new Float64Array(r * n), gamma: new Float64Array(n * cols) };
  });
  using run = new Run(gpu, staging);
  const tape = new Tape(run);
  for (const { onGpu, gradients } of factors) {
    tape.watch(onGpu.a, gradients.a);
    tape.watch(onGpu.b, gradients.b);
  }
  trained.prepare(run);
  for (const [microBatch, tokens] of TOKENS.entries()) {
    const pass = { kind: "train", step: 7, microBatch } as const;
    const batch = newBatch(tokens);
    const factor = (mask: DropoutMask, row: number, col: number) => (rate === 0 ? 1 : dropoutFactor(mask, row, col));
    const want = reference(cpu, weight.values, parts, "peft", batch, (index) => {
      const mask = maskOf(rate, microBatch, index);
      return Float64Array.from({ length: tokens * IN }, (_, at) => factor(mask, Math.floor(at / IN), at % IN));
    });
    want.gradients.forEach((found, index) => {
      const sum = wanted[index];
      if (sum === undefined) throw new Error("a part without sums");
      sum.lambda = found.lambda.map((value, at) => value + itemAt(sum.lambda, at));
      sum.gamma = found.gamma.map((value, at) => value + itemAt(sum.gamma, at));
    });
    for (const one of factors) {
      const mask = dropoutMask(rate, SEED, pass, one.index);
      const found = addFactors(one, batch, (row, col) => factor(mask, row, col), want.y, want.dx);
      found.a.forEach((value, at) => (one.wanted.a[at] = itemAt(one.wanted.a, at) + value));
      found.b.forEach((value, at) => (one.wanted.b[at] = itemAt(one.wanted.b, at) + value));
    }
    const masks = rate === 0 ? undefined : (module: number) => maskOf(rate, microBatch, module);
    const mode = { dropout: rate, seed: SEED, pass };
    const matrices = partsOfMatrices(tensors);
    const linears = isBelow
      ? new LowRankLinears(matrices, placedFactors, mode, trained.linears(masks))
      : trained.linears(masks, new LowRankLinears(matrices, placedFactors, mode));
    const { y, dx } = await sent(gpu, { run, tape, linears, weight: weight.tensor }, batch);
    expect(error(y, want.y), "y").toBeLessThan(1e-5);
    expect(error(dx, want.dx), "dx").toBeLessThan(1e-5);
  }
  trained.finish(run);
  await run.submit();
  for (const [index, { lambda, gamma, lambdaGradient, gammaGradient }] of modules.entries()) {
    expect(error(await taken(gpu, lambdaGradient), wanted[index]?.lambda ?? []), "dλ").toBeLessThan(1e-5);
    expect(error(await taken(gpu, gammaGradient), wanted[index]?.gamma ?? []), "dγ").toBeLessThan(1e-5);
    for (const { buffer } of [lambda, gamma, lambdaGradient, gammaGradient]) gpu.memory.release(buffer);
  }
  for (const { onGpu, gradients, wanted: own } of factors) {
    expect(error(await taken(gpu, gradients.a), own.a), "dA").toBeLessThan(1e-5);
    expect(error(await taken(gpu, gradients.b), own.b), "dB").toBeLessThan(1e-5);
    for (const { buffer } of [onGpu.a, onGpu.b, gradients.a, gradients.b]) gpu.memory.release(buffer);
  }
  owner.dispose();
  bases.release();
  gpu.memory.release(weight.tensor.buffer);
}

const ORDERS = Object.entries(PLANS);

test.each(ORDERS)("y and all gradients equal the f64 reference, with masks that differ: %s", (_, plan) =>
  check(plan, 0.3),
);
test.each(ORDERS.slice(0, 2))("the same in workgroup memory: %s", (_, plan) => check(plan, 0, { kind: "workgroup" }));
test.each([0, 0.3])("the same the other way round, dropout %p", (rate) =>
  check({ order: "factored", kept: false, summed: false }, rate, gpu.staging, false),
);
