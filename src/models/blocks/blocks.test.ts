import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import type { Matrix } from "../../compute/tensor/op.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import { Run } from "../../compute/tensor/run.ts";
import { Tape } from "../../compute/tensor/tape.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { ids, type Operand, random } from "../../compute/tensor/cases/case.ts";
import { IN_F64 } from "../../compute/tensor/testing/graph.ts";
import { place, relativeError, take } from "../../compute/tensor/cases/placed.ts";
import { PLAIN_LINEARS } from "./linears.ts";
import type { Attention, Heads } from "./attention.ts";
import { type Block, recordBlocks } from "./block.ts";
import type { Mlp } from "./mlp.ts";
import { recordWhole, streamOf } from "./stream.ts";

const COMPILE_TIMEOUT = 120_000;
const [TOKENS, WIDTH, INNER] = [11, 24, 44];
const HEADS: Heads = { heads: 3, kvHeads: 3, headSize: 8, scale: 8 ** -0.5, softcap: undefined, window: Infinity };
const EPSILON = 1e-5;

/** A layer of an encoder: layer norms and biases everywhere, attention scaled by columns, no rope, no gate, texts of 7 and 4 tokens seen both ways. */
const OPERANDS = {
  x: random(TOKENS, WIDTH),
  first: ids(0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7),
  last: ids(6, 6, 6, 6, 6, 6, 6, 10, 10, 10, 10),
  norm1: random(1, WIDTH),
  norm1Bias: random(1, WIDTH),
  qkv: random(3 * WIDTH, WIDTH, "F32", 0.5),
  qkvBias: random(1, 3 * WIDTH),
  output: random(WIDTH, WIDTH, "F32", 0.5),
  outputBias: random(1, WIDTH),
  outputScale: random(1, WIDTH),
  norm2: random(1, WIDTH),
  norm2Bias: random(1, WIDTH),
  up: random(INNER, WIDTH, "F32", 0.5),
  upBias: random(1, INNER),
  down: random(WIDTH, INNER, "F32", 0.5),
  downBias: random(1, WIDTH),
} as const;
type Layer<T> = { readonly [K in keyof typeof OPERANDS]: T };

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

function ofEach<T>(value: (operand: Operand, name: string) => T): Layer<T> {
  const all = Object.entries<Operand>(OPERANDS).map(([name, operand]) => [name, value(operand, name)]);
  return Object.fromEntries(all) as Layer<T>; // the same names
}

function attentionOf({ qkv, qkvBias, output, outputBias }: Layer<Tensor>): Attention {
  return {
    kind: "attention",
    ...HEADS,
    rope: undefined,
    neighbors: false,
    qkv,
    qkvBias,
    queryNorm: undefined,
    keyNorm: undefined,
    output: { weight: output, bias: outputBias },
  };
}

function recordEncoderLayer(recorder: Recorder, t: Layer<Tensor>): Tensor {
  const norm = (weight: Tensor, bias: Tensor) => ({ kind: "layer", weight, bias, epsilon: EPSILON }) as const;
  const mlp: Mlp = {
    kind: "mlp",
    activation: "gelu",
    gateUp: undefined,
    gateUpBias: undefined,
    up: t.up,
    upBias: t.upBias,
    output: { weight: t.down, bias: t.downBias },
  };
  const layer: Block[] = [
    { before: norm(t.norm1, t.norm1Bias), mixer: attentionOf(t), scale: t.outputScale },
    { before: norm(t.norm2, t.norm2Bias), mixer: mlp },
  ];
  const sight = { tables: [], past: undefined, first: t.first, last: t.last };
  const before = streamOf(t.x);
  return recordWhole(recorder, recordBlocks(recorder, PLAIN_LINEARS, layer, sight, before), before);
}

/** The same by the definitions. */
function encoderLayerInF64(m: Layer<Matrix>): Matrix {
  const { apply, cols } = IN_F64;
  const linear = (x: Matrix, weight: Matrix, bias: Matrix, residual?: Matrix) =>
    apply(OPS.linear, { x, weight, bias, residual }, {}).y;
  const norm = (x: Matrix, weight: Matrix, bias: Matrix) =>
    apply(OPS.layerNorm, { x, weight, bias }, { epsilon: EPSILON }).y;
  const qkv = linear(norm(m.x, m.norm1, m.norm1Bias), m.qkv, m.qkvBias);
  const [q, keys, values] = [0, 1, 2].map((part) => cols(qkv, part * WIDTH, WIDTH)) as [Matrix, Matrix, Matrix];
  const operands = { q, keys, values, first: m.first, last: m.last, sinks: undefined };
  const { y: mixed } = apply(OPS.attention, operands, { ...HEADS, firstPosition: 0 });
  const scaled = { x: linear(mixed, m.output, m.outputBias), scale: m.outputScale, bias: undefined, residual: m.x };
  const { y: attended } = apply(OPS.scaleColumns, scaled, {});
  const up = linear(norm(attended, m.norm2, m.norm2Bias), m.up, m.upBias);
  return linear(apply(OPS.activation, { x: up }, { kind: "gelu" }).y, m.down, m.downBias, attended);
}

test(
  "blocks make an encoder's layer as well as a decoder's, with its gradients, and give all memory back",
  async () => {
    const matrices = ofEach(({ matrix }) => matrix);
    const placed = ofEach((operand) => place(gpu, operand));
    const slopes = random(TOKENS, WIDTH);
    const dy = place(gpu, slopes);
    const gradient = place(gpu, {
      dtype: "F32",
      matrix: { shape: [3 * WIDTH, WIDTH], data: new Float64Array(3 * WIDTH ** 2) },
    });
    const before = gpu.memory.liveBytes;
    {
      using run = new Run(gpu);
      const tape = new Tape(run);
      tape.watch(placed.qkv, gradient);
      const y = run.keep(recordEncoderLayer(tape, placed));
      tape.backward(y, dy);
      await run.submit();
      const { values } = await take(gpu, y);
      expect(relativeError(values, encoderLayerInF64(matrices).data)).toBeLessThan(1e-4);
      gpu.memory.release(y.buffer);
    }
    expect(gpu.memory.liveBytes).toBe(before);

    // Along its gradient the loss changes by the gradient's square.
    const { values: direction } = await take(gpu, gradient);
    const square = direction.reduce((sum, value) => sum + value * value, 0);
    const loss = (by: number) => {
      const data = matrices.qkv.data.map((value, at) => value + by * (direction[at] ?? NaN));
      const y = encoderLayerInF64({ ...matrices, qkv: { ...matrices.qkv, data } });
      return y.data.reduce((sum, value, at) => sum + value * (slopes.matrix.data[at] ?? NaN), 0);
    };
    const step = 1e-4 / Math.sqrt(square);
    expect(Math.abs((loss(step) - loss(-step)) / (2 * step * square) - 1)).toBeLessThan(1e-4);
  },
  COMPILE_TIMEOUT,
);

test("keys that nothing turns are refused by a cache", () => {
  using run = new Run(gpu);
  const t = ofEach((operand) => place(gpu, operand));
  const past = { length: 0, keys: t.x, values: t.x };
  const sight = { tables: [], past, first: undefined, last: undefined };
  const blocks = [{ before: undefined, mixer: attentionOf(t) }];
  const record = () => recordBlocks(run, PLAIN_LINEARS, blocks, sight, streamOf(t.x));
  expect(record).toThrow("cannot join a cache");
});
