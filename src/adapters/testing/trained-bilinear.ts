import { expect } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import type { Pairing } from "../../compute/device/pairing.ts";
import type { DropoutMask } from "../../compute/random/dropout.ts";
import type { Run } from "../../compute/tensor/run.ts";
import type { Tape } from "../../compute/tensor/tape.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { place } from "../../compute/tensor/cases/placed.ts";
import { itemAt } from "../../files/item-at.ts";
import { roundFromF64, widenToF32 } from "../../files/safetensors/numbers.ts";
import { adapterGradients, adapterOutput } from "./gradient-reference.ts";
import type { BilinearShape, OrderPlan } from "../delta/scaled-bases/shape.ts";
import type { Bases } from "../frozen/drawing/draw.ts";
import { randloraShape } from "../randlora/plan.ts";
import type { Linears } from "../../models/blocks/linears.ts";
import { error, numbers, placed, taken } from "./bases.ts";

/** A matrix as a decoder joins it: modules above and below one that is not adapted; tall and wide; odd at the end. */
export const IN = 36;
export const ROWS = [
  { name: "q", out: 44, adapted: true },
  { name: "k", out: 20, adapted: true },
  { name: "v", out: 12, adapted: false },
  { name: "z", out: 35, adapted: true },
];
export const OUT = ROWS.reduce((sum, { out }) => sum + out, 0);
export const RANK = 5;
export const SCALE = 0.6;
export const TOKENS = [7, 9];

/** Every order. */
export const PLANS = {
  factored: { order: "factored", kept: false, summed: false },
  "merged-h, W' kept": { order: "merged-h", kept: true, summed: false },
  "merged-h, W' rebuilt": { order: "merged-h", kept: false, summed: false },
  "merged-g, W' kept": { order: "merged-g", kept: true, summed: false },
  "merged-g, W' rebuilt": { order: "merged-g", kept: false, summed: false },
  "merged-g, G summed": { order: "merged-g", kept: true, summed: true },
} as const satisfies Readonly<Record<string, OrderPlan>>;

/** An adapted module of the matrix. */
export interface Part {
  readonly name: string;
  readonly first: number;
  readonly shape: BilinearShape;
  readonly lambda: Float32Array<ArrayBuffer>;
  readonly gamma: Float32Array<ArrayBuffer>;
  readonly index: number;
}

/** Another mask for each micro-batch and module. */
export function maskOf(rate: number, microBatch: number, module: number): DropoutMask {
  return { rate, key: [0x9abc_def0, 0x1234_5678], stream: [microBatch, module] };
}

/** The adapted modules, with new parameters. @param shapeOf a module's sizes by its outputs, inputs and rank */
export function modulesOf(shapeOf: typeof randloraShape = randloraShape): Part[] {
  let first = 0;
  const parts: Part[] = [];
  for (const { name, out, adapted } of ROWS) {
    const shape = shapeOf(out, IN, RANK);
    const { bases: n, cols, r } = shape;
    if (adapted) {
      parts.push({ name, first, shape, lambda: numbers(r * n), gamma: numbers(n * cols, 0.3), index: parts.length });
    }
    first += out;
  }
  return parts;
}

/** W, with values that its dtype holds. */
export function frozen(gpu: Device, dtype: "F32" | "BF16"): { tensor: Tensor; values: Float32Array } {
  const values = numbers(OUT * IN, 0.2);
  const bytes = new Uint8Array(values.length * (dtype === "F32" ? 4 : 2));
  roundFromF64(Float64Array.from(values), dtype, bytes);
  widenToF32(bytes, dtype, values);
  return { tensor: place(gpu, { matrix: { shape: [OUT, IN], data: Float64Array.from(values) }, dtype }), values };
}

/** What one micro-batch reads of this matrix, and ∂loss/∂y. */
export interface Batch {
  readonly tokens: number;
  readonly x: Float32Array<ArrayBuffer>;
  readonly dy: Float32Array<ArrayBuffer>;
  readonly bias: Float32Array<ArrayBuffer>;
  readonly residual: Float32Array<ArrayBuffer>;
}

export function newBatch(tokens: number): Batch {
  const [x, dy, residual] = [numbers(tokens * IN), numbers(tokens * OUT), numbers(tokens * OUT)];
  return { tokens, x, dy, bias: numbers(OUT), residual };
}

/** Sends a micro-batch forward and back. @returns y and ∂loss/∂x; ∂loss/∂residual is ∂loss/∂y */
export async function sent(
  gpu: Device,
  { run, tape, linears, weight }: { run: Run; tape: Tape; linears: Linears; weight: Tensor },
  batch: Batch,
): Promise<{ y: Float64Array; dx: Float64Array }> {
  const { tokens } = batch;
  const [x, dx] = [batch.x, new Float32Array(tokens * IN)].map((data) => placed(gpu, [tokens, IN], data)) as Pair;
  const [dy, residual] = [batch.dy, batch.residual].map((data) => placed(gpu, [tokens, OUT], data)) as Pair;
  const dResidual = placed(gpu, [tokens, OUT], new Float32Array(tokens * OUT));
  const bias = placed(gpu, [1, OUT], batch.bias);
  tape.watch(x, dx);
  tape.watch(residual, dResidual);
  const y = linears.apply(tape, { x, weight, bias, residual });
  tape.backward(y, dy);
  run.keep(y);
  await run.submit();
  expect(error(await taken(gpu, dResidual), batch.dy), "dresidual").toBe(0);
  const found = { y: await taken(gpu, y), dx: await taken(gpu, dx) };
  for (const { buffer } of [x, residual, bias, dx, dResidual, dy, y]) gpu.memory.release(buffer);
  return found;
}

type Pair = [Tensor, Tensor];

/** One micro-batch in f64: y, ∂loss/∂x, and what is added to the gradients of each part. */
export function reference(
  bases: Bases,
  weight: Float32Array,
  parts: readonly Part[],
  pairing: Pairing,
  batch: Batch,
  mask: (index: number) => Float64Array,
) {
  const { x, dy, bias, residual, tokens } = batch;
  const y = Float64Array.from(residual, (value, at) => value + itemAt(bias, at % OUT));
  const dx = new Float64Array(tokens * IN);
  for (let t = 0; t < tokens; t++) {
    for (let o = 0; o < OUT; o++) {
      for (let i = 0; i < IN; i++) {
        const w = itemAt(weight, o * IN + i);
        y[t * OUT + o] = itemAt(y, t * OUT + o) + itemAt(x, t * IN + i) * w;
        dx[t * IN + i] = itemAt(dx, t * IN + i) + itemAt(dy, t * OUT + o) * w;
      }
    }
  }
  const gradients = parts.map(({ first, shape, lambda, gamma, index }) => {
    const { out } = shape;
    const layer = { shape, lambda, gamma, scale: SCALE, pairing };
    const columns = Float64Array.from({ length: tokens * out }, (_, at) =>
      itemAt(dy, Math.floor(at / out) * OUT + first + (at % out)),
    );
    const pass = { tokens, x, dy: columns, mask: mask(index) };
    adapterOutput(bases, layer, pass).forEach((value, at) => {
      const to = Math.floor(at / out) * OUT + first + (at % out);
      y[to] = itemAt(y, to) + value;
    });
    const found = adapterGradients(bases, layer, pass);
    found.x.forEach((value, at) => (dx[at] = itemAt(dx, at) + value));
    return found;
  });
  return { y, dx, gradients };
}
