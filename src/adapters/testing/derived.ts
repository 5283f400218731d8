import type { Device } from "../../compute/device/device.ts";
import { itemAt } from "../../files/item-at.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { dropoutFactor } from "../../compute/random/dropout.ts";
import { Run } from "../../compute/tensor/run.ts";
import { Tape } from "../../compute/tensor/tape.ts";
import { sliceRows } from "../../compute/tensor/tensor.ts";
import { type Trainable, dropoutMask } from "../method/training.ts";
import { Parameters } from "../method/parameters.ts";
import type { TargetModule } from "../base/target-modules.ts";
import { error, numbersFrom, placed, taken } from "./bases.ts";

/** A joined matrix with a part that is not adapted, and a matrix of its own; sizes that fill no vectors at the end. */
const MATRICES = [
  {
    in: 36,
    parts: [
      { name: "q", out: 44, adapted: true },
      { name: "k", out: 20, adapted: false },
      { name: "v", out: 35, adapted: true },
    ],
  },
  { in: 53, parts: [{ name: "down", out: 36, adapted: true }] },
];

/** The adapted modules; two of them have inputs of one size, two smaller dimensions. */
export const DERIVED_MODULES: readonly TargetModule[] = MATRICES.flatMap(({ in: input, parts }) =>
  parts.flatMap(({ name, out, adapted }) =>
    adapted ? [{ name, tensor: `${name}.weight`, out, in: input, dtype: "F32" as const }] : [],
  ),
);

const TOKENS = [5, 18];

/** What the method's definition says of a module: A (rank, in) and B (out, rank) in f64, and what B·A is scaled by. */
export type FactorsOf = (
  module: TargetModule,
  parameters: ReadonlyMap<string, Float64Array>,
) => { readonly a: Float64Array; readonly b: Float64Array; readonly rank: number; readonly scale: number };

export interface DerivedTrial {
  readonly trainable: Trainable;
  readonly factors: FactorsOf;
  readonly staging?: Staging | undefined;
  readonly dropout?: number;
  readonly seed?: number;
}

/**
 * Trains two micro-batches with other parameters than the initial ones. Returns the largest errors beside f64: of y, of
 * ∂loss/∂x, and of the parameters' gradients beside finite differences of the loss, which are exact where it is bilinear.
 */
export async function derivedErrors(
  gpu: Device,
  trial: DerivedTrial,
): Promise<{ y: number; dx: number; gradient: number }> {
  const { trainable, factors, staging = gpu.staging, dropout = 0, seed = 0 } = trial;
  const numbers = numbersFrom(1);
  const parameters = new Parameters(gpu, trainable.parameters);
  const values = new Map<string, Float64Array>();
  const weights = MATRICES.map(({ in: input, parts }) => {
    const out = parts.reduce((sum, part) => sum + part.out, 0);
    const data = numbers(out * input);
    return { data, tensor: placed(gpu, [out, input], data), out };
  });
  const tensors = new Map(
    MATRICES.flatMap(({ parts }, at) => {
      let first = 0;
      return parts.map(({ name, out }) => {
        const whole = weights[at]?.tensor;
        if (whole === undefined) throw new RangeError(`matrix ${at}`);
        const view = sliceRows(whole, first, out);
        first += out;
        return [`${name}.weight`, view] as const;
      });
    }),
  );
  const place = { staging, tokens: 32, microBatches: 2, budget: 0, choices: undefined };
  const owner = new DisposableStack();
  const method = await trainable.place({ gpu: ownedBy(owner, gpu), parameters, tensors, place });
  for (const { name, shape } of parameters.all) {
    const data = numbers(shape[0] * shape[1]);
    values.set(name, Float64Array.from(data));
    parameters.write(name, "value", data);
  }
  using run = new Run(gpu, staging);
  const tape = new Tape(run);
  for (const { value, gradient } of method.watched()) tape.watch(value, gradient, value.offset);
  const batches = TOKENS.map((tokens) =>
    MATRICES.map(({ in: input }, at) => {
      const out = weights[at]?.out ?? 0;
      return { tokens, x: numbers(tokens * input), dy: numbers(tokens * out), input, out };
    }),
  );
  /** drop(x) of one module in one micro-batch. */
  const dropped = (microBatch: number, matrix: number, module: number) => {
    const { x, input } = batches[microBatch]?.[matrix] ?? { x: numbers(0), input: 1 };
    const mask = dropoutMask(dropout, seed, { kind: "train", step: 3, microBatch }, module);
    const factor = (at: number) => (dropout === 0 ? 1 : dropoutFactor(mask, Math.floor(at / input), at % input));
    return Float64Array.from(x, (value, at) => value * factor(at));
  };
  const worst = { y: 0, dx: 0, gradient: 0 };
  // Twice: the second step must not see the first one's sums.
  for (const step of [0, 1]) {
    method.prepare(run);
    for (const [microBatch, matrices] of batches.entries()) {
      const linears = method.linears({ kind: "train", step: 3, microBatch });
      for (const [at, { tokens, x, dy, input, out }] of matrices.entries()) {
        const weight = weights[at];
        if (weight === undefined) continue;
        const [xs, dys] = [placed(gpu, [tokens, input], x), placed(gpu, [tokens, out], dy)];
        const dx = placed(gpu, [tokens, input], new Float32Array(tokens * input));
        tape.watch(xs, dx);
        const y = linears.apply(tape, { x: xs, weight: weight.tensor, bias: undefined, residual: undefined });
        tape.backward(y, dys);
        run.keep(y);
        await run.submit();
        const want = forward(at, microBatch);
        worst.y = Math.max(worst.y, error(await taken(gpu, y), want.y));
        worst.dx = Math.max(worst.dx, error(await taken(gpu, dx), want.dx));
        for (const { buffer } of [xs, dys, dx, y]) gpu.memory.release(buffer);
      }
    }
    method.finish(run);
    await run.submit();
    if (step === 0) for (const { name, shape } of parameters.all) parameters.write(name, "gradient", zeros(shape));
  }
  for (const { name } of parameters.all) {
    const own = values.get(name) ?? new Float64Array();
    const looked = picked(own.length);
    const found = await parameters.read(name, "gradient");
    const wanted = looked.map((at) => {
      const value = itemAt(own, at);
      own[at] = value + 0.5;
      const above = loss(name);
      own[at] = value - 0.5;
      const below = loss(name);
      own[at] = value;
      return above - below;
    });
    const ours = looked.map((at) => itemAt(found, at));
    worst.gradient = Math.max(worst.gradient, error(ours, wanted));
  }
  owner.dispose();
  parameters.release();
  for (const { tensor } of weights) gpu.memory.release(tensor.buffer);
  return worst;

  /** y and ∂loss/∂x of a matrix. */
  function forward(matrix: number, microBatch: number): { y: Float64Array; dx: Float64Array } {
    const { tokens, x, dy, input, out } = batches[microBatch]?.[matrix] ?? {
      tokens: 0,
      x: [],
      dy: [],
      input: 1,
      out: 1,
    };
    const weight = weights[matrix]?.data ?? numbers(0);
    const y = product({ left: Float64Array.from(x), right: turned(weight, out, input), rows: tokens, terms: input });
    const dx = product({ left: Float64Array.from(dy), right: Float64Array.from(weight), rows: tokens, terms: out });
    let first = 0;
    for (const { name, out: rows, adapted } of MATRICES[matrix]?.parts ?? []) {
      const index = DERIVED_MODULES.findIndex((module) => module.name === name);
      const module = DERIVED_MODULES[index];
      if (adapted && module !== undefined) {
        const added = adapterOutput(module, dropped(microBatch, matrix, index), tokens);
        const { a, b, rank, scale } = factors(module, values);
        const columns = Float64Array.from(
          { length: tokens * rows },
          (_, at) => itemAt(dy, Math.floor(at / rows) * out + first + (at % rows)) * scale,
        );
        const inner = product({ left: columns, right: b, rows: tokens, terms: rows });
        const back = product({ left: inner, right: a, rows: tokens, terms: rank });
        const ones = maskOf(microBatch, matrix, index);
        dx.forEach((value, at) => (dx[at] = value + itemAt(back, at) * itemAt(ones, at)));
        added.forEach((value, at) => {
          const to = Math.floor(at / rows) * out + first + (at % rows);
          y[to] = itemAt(y, to) + value;
        });
      }
      first += rows;
    }
    return { y, dx };
  }

  function maskOf(microBatch: number, matrix: number, module: number): Float64Array {
    const { x } = batches[microBatch]?.[matrix] ?? { x: numbers(0) };
    return dropped(microBatch, matrix, module).map((value, at) => value / itemAt(x, at));
  }

  /** scale · B A drop(x). */
  function adapterOutput(module: TargetModule, x: Float64Array, tokens: number): Float64Array {
    const { a, b, rank, scale } = factors(module, values);
    const inner = product({ left: x, right: turned(a, rank, module.in), rows: tokens, terms: module.in });
    return product({ left: inner, right: turned(b, module.out, rank), rows: tokens, terms: rank }).map(
      (v) => v * scale,
    );
  }

  /** Σ dy · y of what the module of this parameter adds. */
  function loss(parameter: string): number {
    let sum = 0;
    for (const [matrix, { parts }] of MATRICES.entries()) {
      let first = 0;
      for (const { name, out: rows } of parts) {
        const index = DERIVED_MODULES.findIndex((module) => module.name === name);
        const module = DERIVED_MODULES[index];
        if (module !== undefined && parameter.startsWith(`${name}.`)) {
          for (const [microBatch, { [matrix]: batch }] of batches.entries()) {
            const { tokens, dy, out } = batch ?? { tokens: 0, dy: [], out: 1 };
            const added = adapterOutput(module, dropped(microBatch, matrix, index), tokens);
            for (const [at, value] of added.entries()) {
              sum += value * itemAt(dy, Math.floor(at / rows) * out + first + (at % rows));
            }
          }
        }
        first += rows;
      }
    }
    return sum;
  }
}

/** Elements at which gradients are compared: the first, the last, and some between them. */
function picked(count: number): number[] {
  const step = Math.max(1, Math.floor(count / 41));
  return [...new Set([...Array.from({ length: Math.ceil(count / step) }, (_, i) => i * step), count - 1])];
}

const zeros = (shape: readonly [number, number]) => new Float32Array(shape[0] * shape[1]);

/** left (rows, terms) · right (terms, cols). */
function product(of: { left: Float64Array; right: Float64Array; rows: number; terms: number }): Float64Array {
  const { left, right, rows, terms } = of;
  const cols = right.length / terms;
  const result = new Float64Array(rows * cols);
  for (let i = 0; i < rows; i++) {
    for (let k = 0; k < terms; k++) {
      const factor = itemAt(left, i * terms + k);
      for (let j = 0; j < cols; j++) {
        result[i * cols + j] = itemAt(result, i * cols + j) + factor * itemAt(right, k * cols + j);
      }
    }
  }
  return result;
}

/** The transpose of a matrix (rows, cols). */
function turned(matrix: ArrayLike<number>, rows: number, cols: number): Float64Array {
  return Float64Array.from({ length: rows * cols }, (_, at) =>
    itemAt(matrix, (at % rows) * cols + Math.floor(at / rows)),
  );
}
