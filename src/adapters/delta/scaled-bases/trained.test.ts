import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import { ownedBy } from "../../../compute/device/owned.ts";
import type { Pairing } from "../../../compute/device/pairing.ts";
import type { Staging } from "../../../compute/device/staging.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { dropoutFactor, type DropoutMask } from "../../../compute/random/dropout.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { Tape } from "../../../compute/tensor/tape.ts";
import { sliceRows } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { FactorsSpec } from "../../frozen/drawing/factors.ts";
import { randloraShape } from "../../randlora/plan.ts";
import { basesFor, error, factorsFor, placed, type Stored, STORED, taken } from "../../testing/bases.ts";
import {
  frozen,
  IN,
  maskOf,
  modulesOf,
  newBatch,
  PLANS,
  reference,
  SCALE,
  sent,
  TOKENS,
} from "../../testing/trained-bilinear.ts";
import { VERA_PAIRING, veraShape } from "../../vera/plan.ts";
import type { TrainedModule } from "./factored.ts";
import type { OrderPlan } from "./shape.ts";
import { TrainedBilinear } from "./trained.ts";
import { TrainingBases } from "./training-bases.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

interface Case {
  readonly plan: OrderPlan;
  readonly stored?: Stored;
  readonly pairing?: Pairing;
  readonly staging?: Staging;
  readonly dtype?: "F32" | "BF16";
  readonly rate?: number;
  /** Blocks of unpacked rows of B̂. */
  readonly panelBytes?: number;
  /** VeRA's modules with such factors, instead of RandLoRA's. */
  readonly factors?: Pick<FactorsSpec, "generator" | "grid">;
}

function add(sum: Float64Array, values: Float64Array): void {
  values.forEach((value, at) => (sum[at] = itemAt(sum, at) + value));
}

/** Memory that is not given back fails the test as well. */
async function check(trial: Case): Promise<void> {
  const before = gpu.memory.liveBytes;
  await train(trial);
  expect(gpu.memory.liveBytes).toBe(before);
}

async function train({
  plan,
  stored = "bf16",
  pairing = "peft",
  staging,
  dtype = "BF16",
  rate = 0,
  panelBytes,
  factors,
}: Case): Promise<void> {
  const parts = modulesOf(factors && veraShape);
  const shapes = parts.map(({ shape }) => shape);
  const cpu = factors === undefined ? basesFor(stored, shapes) : factorsFor(factors, shapes);
  const bases = await TrainingBases.create(gpu, cpu, pairing, panelBytes);
  const weight = frozen(gpu, dtype);
  const modules = parts.map(({ name, first, shape, lambda, gamma }): TrainedModule => {
    const { r, bases: n, cols, out } = shape;
    return {
      name,
      shape,
      weight: sliceRows(weight.tensor, first, out),
      lambda: placed(gpu, [r, n], lambda, 64),
      gamma: placed(gpu, [n, cols], gamma, 128),
      lambdaGradient: placed(gpu, [r, n], new Float32Array(r * n), 64),
      gammaGradient: placed(gpu, [n, cols], new Float32Array(n * cols)),
    };
  });
  const owner = new DisposableStack();
  const trained = new TrainedBilinear(ownedBy(owner, gpu), {
    bases,
    modules,
    scale: SCALE,
    dropout: rate > 0,
    plans: [plan],
  });
  const wanted = parts.map(({ lambda, gamma }) => ({
    lambda: new Float64Array(lambda.length),
    gamma: new Float64Array(gamma.length),
  }));
  using run = new Run(gpu, staging ?? gpu.staging);
  const tape = new Tape(run);
  trained.prepare(run);
  for (const [microBatch, tokens] of TOKENS.entries()) {
    const batch = newBatch(tokens);
    const masks = rate === 0 ? undefined : (module: number) => maskOf(rate, microBatch, module);
    const want = reference(cpu, weight.values, parts, pairing, batch, (index) => {
      const mask = masks?.(index);
      const factor = (at: number) => (mask === undefined ? 1 : dropoutFactor(mask, Math.floor(at / IN), at % IN));
      return Float64Array.from({ length: tokens * IN }, (_, at) => factor(at));
    });
    for (const [index, found] of want.gradients.entries()) {
      const sum = wanted[index];
      if (sum === undefined) throw new Error("a part without sums");
      add(sum.lambda, found.lambda);
      add(sum.gamma, found.gamma);
    }
    const { y, dx } = await sent(gpu, { run, tape, linears: trained.linears(masks), weight: weight.tensor }, batch);
    expect(error(y, want.y), "y").toBeLessThan(1e-5);
    expect(error(dx, want.dx), "dx").toBeLessThan(1e-5);
  }
  trained.finish(run);
  await run.submit();
  for (const [index, module] of modules.entries()) {
    expect(error(await taken(gpu, module.lambdaGradient), wanted[index]?.lambda ?? []), "dλ").toBeLessThan(1e-5);
    expect(error(await taken(gpu, module.gammaGradient), wanted[index]?.gamma ?? []), "dγ").toBeLessThan(1e-5);
    for (const { buffer } of [module.lambda, module.gamma, module.lambdaGradient, module.gammaGradient]) {
      gpu.memory.release(buffer);
    }
  }
  owner.dispose();
  bases.release();
  gpu.memory.release(weight.tensor.buffer);
}

const WORKGROUP: Staging = { kind: "workgroup" };
const IN_BLOCKS = 16 * 40 * 2;

describe("y and all gradients equal the f64 reference, over two micro-batches", () => {
  const orders = Object.entries(PLANS);
  test.each(orders)("%s, dropout", (_, plan) => check({ plan, rate: 0.3 }));
  const { factored, "merged-g, G summed": summed } = PLANS;
  const few = [["factored", factored] as const, ["merged-g, G summed", summed] as const];
  test.each(few)("%s, the paper's pairing, packed bases", (_, plan) =>
    check({ plan, pairing: "paper", stored: "ternary", dtype: "F32" }),
  );
  test.each(few)("%s, workgroup staging, B̂ in several blocks of rows", (_, plan) =>
    check({ plan, staging: WORKGROUP, stored: "philox, sparse", panelBytes: IN_BLOCKS }),
  );
  const plans = orders.map(([, plan]) => plan);
  test.each((Object.keys(STORED) as Stored[]).map((stored, at) => [stored, at % plans.length] as const))(
    "%s",
    (stored, at) => check({ stored, plan: itemAt(plans, at) }),
  );
});

describe("VeRA's modules", () => {
  const orders = Object.entries(PLANS);
  const pairing = VERA_PAIRING;
  test.each(orders)("%s, 16 bits, dropout", (_, plan) =>
    check({ plan, pairing, factors: { generator: "torch-mt19937-f32", grid: "bf16" }, rate: 0.3 }),
  );
  test.each(["f32", "f16"] as const)("philox, %s, in several blocks of rows", (grid) =>
    check({ plan: PLANS.factored, pairing, factors: { generator: "philox-v1", grid }, panelBytes: IN_BLOCKS }),
  );
});

/** An adapter of one module (24, 20) in a matrix of its own, with the bytes of y and of the gradients after a pass. */
async function pass(plan: OrderPlan, masks: ((module: number) => DropoutMask) | undefined, dropout: boolean) {
  const shape = randloraShape(24, 20, 4);
  const wave = (count: number, at: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(at + 1.3 * i));
  const { r, bases: n, cols } = shape;
  const bases = await TrainingBases.create(gpu, basesFor("bf16", [shape]), "peft");
  const weight = placed(gpu, [24, 20], wave(480, 1));
  const module: TrainedModule = {
    name: "q",
    shape,
    weight,
    lambda: placed(gpu, [r, n], wave(r * n, 2)),
    gamma: placed(gpu, [n, cols], wave(n * cols, 3)),
    lambdaGradient: placed(gpu, [r, n], new Float32Array(r * n)),
    gammaGradient: placed(gpu, [n, cols], new Float32Array(n * cols)),
  };
  const owner = new DisposableStack();
  const trained = new TrainedBilinear(ownedBy(owner, gpu), {
    bases,
    modules: [module],
    scale: 1,
    dropout,
    plans: [plan],
  });
  const [x, dy] = [placed(gpu, [70, 20], wave(1400, 4)), placed(gpu, [70, 24], wave(1680, 5))];
  using run = new Run(gpu);
  const tape = new Tape(run);
  trained.prepare(run);
  const inputs = { x, weight, bias: undefined, residual: undefined };
  const y = trained.linears(masks).apply(tape, inputs);
  tape.backward(y, dy);
  // Without a tape it is the same.
  const plain = trained.linears(masks).apply(run, inputs);
  trained.finish(run);
  run.keep(y);
  run.keep(plain);
  await run.submit();
  const values = await Promise.all(
    [y, module.lambdaGradient, module.gammaGradient].map((tensor) => taken(gpu, tensor)),
  );
  expect(await taken(gpu, plain)).toEqual(values[0] ?? new Float64Array());
  owner.dispose();
  bases.release();
  const { name: _, shape: __, experts: ___, ...tensors } = module;
  for (const { buffer } of [x, dy, y, plain, ...Object.values(tensors)]) gpu.memory.release(buffer);
  return values;
}

test.each(Object.entries(PLANS))("the same pass gives the same bytes: %s", async (_, plan) => {
  const before = gpu.memory.liveBytes;
  expect(await pass(plan, undefined, false)).toEqual(await pass(plan, undefined, false));
  const masks = (module: number) => maskOf(0.5, 1, module);
  expect(await pass(plan, masks, true)).toEqual(await pass(plan, masks, true));
  expect(gpu.memory.liveBytes).toBe(before);
});

test("an evaluation drops nothing", async () => {
  const plan: OrderPlan = { order: "merged-h", kept: true, summed: false };
  const [merged] = await pass(plan, undefined, false);
  const [apart] = await pass(plan, undefined, true);
  const [dropped] = await pass(plan, (module) => maskOf(0.5, 1, module), true);
  expect(error(apart ?? [], merged ?? [])).toBeLessThan(1e-5);
  expect(error(dropped ?? [], merged ?? [])).toBeGreaterThan(0.1);
});
