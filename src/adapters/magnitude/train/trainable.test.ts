import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Gpu } from "../../../gpu/gpu.ts";
import type { Staging } from "../../../device/staging.ts";
import { dropoutFactor } from "../../../random/dropout.ts";
import { Run } from "../../../tensor/run.ts";
import { Tape } from "../../../tensor/tape.ts";
import { sliceRows } from "../../../tensor/tensor.ts";
import { deltaReference } from "../../bilinear/delta-reference.ts";
import { trainableLora } from "../../lora/train/trained.ts";
import { randloraShape } from "../../randlora/shape.ts";
import { trainableRandlora } from "../../randlora/train/trained.ts";
import { basesFor, error, numbers, placed, taken } from "../../testing/bases.ts";
import { frozen, IN, OUT, PLANS, RANK, ROWS, SCALE, TOKENS } from "../../testing/trained-bilinear.ts";
import { dropoutMask } from "../../training/dropout.ts";
import type { Method, MethodChoices, Trainable } from "../../training/method.ts";
import { Parameters } from "../../training/parameters.ts";
import { withMagnitude } from "./trainable.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await Gpu.open();
});
afterAll(() => gpu.close());

const SEED = 7;
const MAGNITUDE = "x_magnitude_vector";

/** The adapted modules among the rows of one matrix: q, k and z, while v is not. */
const MODULES = (() => {
  let first = 0;
  return ROWS.flatMap(({ name, out, adapted }) => {
    const module = { name, tensor: `${name}.weight`, out, in: IN, first };
    first += out;
    return adapted ? [module] : [];
  });
})();

/** Trained numbers by name. */
type Values = Map<string, Float64Array>;

/** Another method, with its ΔW of a module in f64 from any values of its parameters. */
interface Inner {
  readonly trainable: Trainable;
  readonly choices: MethodChoices | undefined;
  delta(module: number, values: Values): Float64Array;
}

function loraInner(dropout: number): Inner {
  const modules = MODULES.map((module) => {
    const values = { a: numbers(RANK * IN), b: numbers(module.out * RANK, 0.3) };
    return { ...module, rank: RANK, scale: SCALE, values, stored: undefined };
  });
  return {
    trainable: trainableLora({ modules, config: {} }, { dropout, seed: SEED }),
    choices: undefined,
    delta(index, values) {
      const { name, out } = MODULES[index] ?? { name: "", out: 0 };
      const [a, b] = [values.get(`${name}.lora_A.weight`), values.get(`${name}.lora_B.weight`)];
      return Float64Array.from({ length: out * IN }, (_, at) => {
        let sum = 0;
        for (let k = 0; k < RANK; k++) {
          sum += (b?.[Math.floor(at / IN) * RANK + k] ?? NaN) * (a?.[k * IN + (at % IN)] ?? NaN);
        }
        return SCALE * sum;
      });
    },
  };
}

function randloraInner(dropout: number, order: string): Inner {
  const shapes = MODULES.map(({ out }) => randloraShape(out, IN, RANK));
  const bases = basesFor("ternary", shapes);
  const modules = MODULES.map((module, index) => {
    const shape = shapes[index] ?? randloraShape(1, 1, 1);
    const { r, bases: n, cols } = shape;
    return { ...module, shape, values: { lambda: numbers(r * n), gamma: numbers(n * cols, 0.3) } };
  });
  const adapter = { rank: RANK, alpha: SCALE * RANK, dropout, targets: [], layers: [] };
  const none = { initAdapter: null, initCommit: null, initSha256: null };
  const own = { variant: "paper", sparsity: "sparse", basisSeed: "0", generator: null } as const;
  const settings = { ...adapter, ...none, ...own, projections: false, compute: "auto", dora: true } as const;
  const source = {
    r: RANK,
    scale: SCALE,
    pairing: "paper",
    modules,
    bases,
    basesFrom: "saved",
    record: undefined,
    config: {},
    projections: () => Promise.reject(new Error("not saved here")),
    needsProjections: false,
    notes: [],
  } as const;
  return {
    trainable: trainableRandlora(source, settings, SEED),
    choices: { orders: [order] },
    delta(index, values) {
      const { name = "" } = MODULES[index] ?? {};
      const [lambda, gamma] = ["lambda", "gamma"].map((of) => values.get(`${name}.randlora_${of}`) ?? []);
      const shape = shapes[index] ?? randloraShape(1, 1, 1);
      return deltaReference(bases, {
        shape,
        lambda: Float64Array.from(lambda ?? []),
        gamma: Float64Array.from(gamma ?? []),
        scale: SCALE,
        pairing: "paper",
      });
    },
  };
}

/** One micro-batch. */
interface Batch {
  readonly tokens: number;
  readonly x: Float32Array<ArrayBuffer>;
  readonly dy: Float32Array<ArrayBuffer>;
  readonly bias: Float32Array<ArrayBuffer>;
  readonly residual: Float32Array<ArrayBuffer>;
}

/** y of a micro-batch by the definition, the norms being given. */
function outputs(
  { tokens, bias, residual }: Batch,
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  model: { deltas: readonly Float64Array[]; values: Values; norms: readonly Float64Array[] },
  masks: readonly Float64Array[],
): Float64Array {
  const y = new Float64Array(tokens * OUT);
  for (let t = 0; t < tokens; t++) {
    for (let o = 0; o < OUT; o++) {
      const index = MODULES.findIndex(({ first, out }) => o >= first && o < first + out);
      const module = MODULES[index];
      const row = o - (module?.first ?? 0);
      let z = 0;
      for (let i = 0; i < IN; i++) {
        z += (x[t * IN + i] ?? NaN) * (w[o * IN + i] ?? NaN);
        if (module === undefined) continue;
        z +=
          (x[t * IN + i] ?? NaN) * (masks[index]?.[t * IN + i] ?? NaN) * (model.deltas[index]?.[row * IN + i] ?? NaN);
      }
      const m = module && model.values.get(`${module.name}.${MAGNITUDE}`)?.[row];
      const c = module === undefined ? 1 : (m ?? NaN) / (model.norms[index]?.[row] ?? NaN);
      y[t * OUT + o] = c * z + (bias[o] ?? NaN) + (residual[t * OUT + o] ?? NaN);
    }
  }
  return y;
}

/** ‖W + ΔW‖ of the rows of each module. */
function normsOf(w: ArrayLike<number>, deltas: readonly Float64Array[]): Float64Array[] {
  return MODULES.map(({ first, out }, index) =>
    Float64Array.from({ length: out }, (_, row) => {
      let sum = 0;
      for (let i = 0; i < IN; i++) {
        sum += ((w[(first + row) * IN + i] ?? NaN) + (deltas[index]?.[row * IN + i] ?? NaN)) ** 2;
      }
      return Math.sqrt(sum);
    }),
  );
}

interface Case {
  readonly inner: Inner;
  readonly dropout?: number;
  readonly staging?: Staging;
  readonly dtype?: "F32" | "BF16";
}

/** Places the method, and says what is trained in f64. */
async function placedMethod({ inner, staging = gpu.staging, dtype = "BF16" }: Case, begins = false) {
  const weight = frozen(gpu, dtype);
  const magnitudes = MODULES.map(({ out }) => numbers(out).map((value) => 1.5 + value));
  const trainable = withMagnitude(inner.trainable, MODULES, MAGNITUDE, begins ? undefined : magnitudes);
  const parameters = new Parameters(gpu, trainable.parameters);
  let first = 0;
  const tensors = new Map(
    ROWS.map(({ name, out }) => {
      const rows = sliceRows(weight.tensor, first, out);
      first += out;
      return [`${name}.weight`, rows] as const;
    }),
  );
  const place = { staging, tokens: 9, microBatches: 2, budget: 0, choices: inner.choices };
  const method = await trainable.place({ gpu, parameters, tensors, place });
  const release = () => {
    method.release();
    parameters.release();
    gpu.memory.release(weight.tensor.buffer);
  };
  return { weight, trainable, parameters, method, staging, release };
}

async function valuesOf(parameters: Parameters): Promise<Values> {
  const all = parameters.all.map(async ({ name }) => [name, Float64Array.from(await parameters.read(name))] as const);
  return new Map(await Promise.all(all));
}

/** One step of two micro-batches: y, ∂loss/∂x and every gradient, beside finite differences of the definition. */
async function step(
  { inner, dropout = 0 }: Case,
  { weight, parameters, method, staging }: Awaited<ReturnType<typeof placedMethod>>,
  index: number,
): Promise<void> {
  const values = await valuesOf(parameters);
  const batches = TOKENS.map((tokens): Batch => {
    const [x, dy] = [numbers(tokens * IN), numbers(tokens * OUT)];
    return { tokens, x, dy, bias: numbers(OUT), residual: numbers(tokens * OUT) };
  });
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
      copy[i] = (copy[i] ?? NaN) + by;
      return loss(copy);
    };
    return moved(0.5) - moved(-0.5);
  };
  /** The same with other numbers of one tensor, which is of one module. */
  const movedTo = (name: string, numbersOf: Float64Array): typeof before => {
    const moved = new Map(values).set(name, numbersOf);
    const deltas = before.deltas.map((delta, module) =>
      name.startsWith(`${MODULES[module]?.name}.`) && !name.endsWith(MAGNITUDE) ? inner.delta(module, moved) : delta,
    );
    return { deltas, values: moved };
  };

  using run = new Run(gpu, staging);
  const tape = new Tape(run);
  for (const { value, gradient } of method.watched()) tape.watch(value, gradient, value.offset);
  method.prepare(run);
  for (const [microBatch, batch] of batches.entries()) {
    const { tokens } = batch;
    const x = placed(gpu, [tokens, IN], batch.x);
    const residual = placed(gpu, [tokens, OUT], batch.residual);
    const bias = placed(gpu, [1, OUT], batch.bias);
    const dy = placed(gpu, [tokens, OUT], batch.dy);
    const dx = placed(gpu, [tokens, IN], new Float32Array(tokens * IN));
    const dResidual = placed(gpu, [tokens, OUT], new Float32Array(tokens * OUT));
    tape.watch(x, dx);
    tape.watch(residual, dResidual);
    const linears = method.linears({ kind: "train", step: index, microBatch });
    const y = linears.apply(tape, { x, weight: weight.tensor, bias, residual });
    tape.backward(y, dy);
    run.keep(y);
    await run.submit();
    expect(error(await taken(gpu, y), yOf(microBatch, before, batch.x)), "y").toBeLessThan(1e-5);
    const found = await taken(gpu, dx);
    const sample = sampleOf(found, 24);
    const wanted = sample.map((i) => slope((moved) => lossOf(microBatch, before, moved), batch.x, i));
    const ours = sample.map((i) => found[i] ?? NaN);
    expect(error(ours, wanted), "dx").toBeLessThan(1e-5);
    expect(error(await taken(gpu, dResidual), batch.dy), "dresidual").toBe(0);
    for (const { buffer } of [x, residual, bias, dx, dResidual, dy, y]) gpu.memory.release(buffer);
  }
  method.finish(run);
  await run.submit();
  const total = (of: typeof before) => batches.reduce((sum, { x }, at) => sum + lossOf(at, of, x), 0);
  for (const [name, old] of values) {
    const found = await parameters.read(name, "gradient");
    const sample = sampleOf(old, 4);
    const wanted = sample.map((i) => slope((moved) => total(movedTo(name, moved)), old, i));
    const ours = sample.map((i) => found[i] ?? NaN);
    expect(error(ours, wanted), `gradient of ${name}`).toBeLessThan(2e-5);
  }
}

/** Some indices, spread over all. */
function sampleOf({ length }: ArrayLike<number>, count: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * length) / count));
}

async function check(trial: Case): Promise<void> {
  const before = gpu.memory.liveBytes;
  const placed = await placedMethod(trial);
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
  test("LoRA", () => check({ inner: loraInner(0) }));
  test("LoRA, dropout, f32", () => check({ inner: loraInner(0.3), dropout: 0.3, dtype: "F32" }));
  test("LoRA, workgroup staging", () => check({ inner: loraInner(0), staging: WORKGROUP }));
  const orders = Object.values(PLANS).map(({ order, kept, summed }) => {
    return `${order}${kept ? "+kept" : ""}${summed ? "+summed" : ""}`;
  });
  test.each(orders)("RandLoRA, %s", (order) => check({ inner: randloraInner(0, order) }));
  test.each(["factored", "merged-h+kept", "merged-g"])("RandLoRA, %s, dropout", (order) =>
    check({ inner: randloraInner(0.3, order), dropout: 0.3 }),
  );
  test.each(["factored", "merged-g+kept"])("RandLoRA, %s, workgroup staging", (order) =>
    check({ inner: randloraInner(0, order), staging: WORKGROUP }),
  );
});

describe("a new one begins with the norms of W, in W's dtype", () => {
  test.each(["F32", "BF16"] as const)("%s", async (dtype) => {
    const placed = await placedMethod({ inner: randloraInner(0, "factored"), dtype }, true);
    const { method, parameters, weight, trainable } = placed;
    using run = new Run(gpu);
    begin(method, run);
    await run.submit();
    const norms = normsOf(
      weight.values,
      MODULES.map(({ out }) => new Float64Array(out * IN)),
    );
    for (const [index, { name, out }] of MODULES.entries()) {
      const found = await parameters.read(`${name}.${MAGNITUDE}`);
      expect(error(found, norms[index] ?? [])).toBeLessThan(dtype === "F32" ? 1e-6 : 2 ** -8);
      const bits = new Uint32Array(found.buffer);
      if (dtype === "BF16") expect(bits.every((word) => (word & 0xffff) === 0)).toBe(true);
      const [row] = trainable.modules.filter((one) => one.name === name);
      const { bases, cols, r } = randloraShape(out, IN, RANK);
      expect(row?.parameters).toBe(bases * (r + cols) + out);
    }
    placed.release();
  });
});

function begin(method: Method, run: Run): void {
  if (method.begin === undefined) throw new Error("nothing to begin with");
  method.begin(run);
}
