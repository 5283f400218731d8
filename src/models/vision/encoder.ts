import type { Activation } from "../../compute/tensor/elementwise.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { recordAttention, type Sight } from "../blocks/attention.ts";
import { recordMlp } from "../blocks/mlp.ts";
import type { Norm } from "../blocks/norm.ts";
import { recordWhole, releaseStream, streamOf } from "../blocks/stream.ts";
import type { Linears } from "../blocks/linears.ts";
import type { Placed, PlacedWeights } from "../placed-weights.ts";
import { type PlannedMatrix, plannedLinear, plannedVector } from "../tensor-plan.ts";

/** A stack of layers as encoders of images and of texts have it: x += attention(norm(x)), x += mlp(norm(x)). */
export interface EncoderConfig {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  /** width / heads. */
  readonly headSize: number;
  /** Rows of the MLP's first matrix; of each of its two halves where it is gated. */
  readonly inner: number;
  readonly activation: Activation;
  readonly epsilon: number;
  readonly qkvBias: boolean;
  readonly names: LayerNames;
}

/** What a checkpoint calls the modules of layer number n, below `layer(n)`. */
export interface LayerNames {
  layer(index: number): string;
  readonly attentionNorm: string;
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly output: string;
  readonly mlpNorm: string;
  /** The MLP's first matrix: f(up x), or with `gated` both of f(gate x) · up x, one below the other. */
  readonly up: string;
  readonly gated: boolean;
  readonly down: string;
  /** The factors (LayerScale) of attention's and the MLP's outputs; undefined: there are none. */
  readonly scales: readonly [attention: string, mlp: string] | undefined;
}

/** The matrices of a layer, by their roles. */
export type PlannedEncoderLayer = {
  readonly attentionNorm: PlannedMatrix;
  readonly attentionNormBias: PlannedMatrix;
  readonly qkv: PlannedMatrix;
  readonly qkvBias: PlannedMatrix | undefined;
  readonly output: PlannedMatrix;
  readonly outputBias: PlannedMatrix;
  readonly outputScale: PlannedMatrix | undefined;
  readonly mlpNorm: PlannedMatrix;
  readonly mlpNormBias: PlannedMatrix;
  readonly up: PlannedMatrix;
  readonly upBias: PlannedMatrix;
  readonly down: PlannedMatrix;
  readonly downBias: PlannedMatrix;
  readonly downScale: PlannedMatrix | undefined;
};

/** Names and shapes of the layers' tensors. */
export function planEncoder(config: EncoderConfig): PlannedEncoderLayer[] {
  const { width, inner, qkvBias, names } = config;
  return Array.from({ length: config.layers }, (_, index) => {
    const path = (name: string) => `${names.layer(index)}.${name}`;
    const vector = (name: string, size = width) => plannedVector([path(name), [size]]);
    const matrix = (name: string, rows: number, cols: number) =>
      plannedLinear(cols, [path(`${name}.weight`), [rows, cols]]);
    const qkv = [names.query, names.key, names.value];
    const rows = names.gated ? 2 * inner : inner;
    const [attentionScale, mlpScale] = names.scales ?? [];
    return {
      attentionNorm: vector(`${names.attentionNorm}.weight`),
      attentionNormBias: vector(`${names.attentionNorm}.bias`),
      qkv: plannedLinear(width, ...qkv.map((name) => [path(`${name}.weight`), [width, width]] as const)),
      qkvBias: qkvBias ? plannedVector(...qkv.map((name) => [path(`${name}.bias`), [width]] as const)) : undefined,
      output: matrix(names.output, width, width),
      outputBias: vector(`${names.output}.bias`),
      outputScale: attentionScale === undefined ? undefined : vector(attentionScale),
      mlpNorm: vector(`${names.mlpNorm}.weight`),
      mlpNormBias: vector(`${names.mlpNorm}.bias`),
      up: matrix(names.up, rows, width),
      upBias: vector(`${names.up}.bias`, rows),
      down: matrix(names.down, width, inner),
      downBias: vector(`${names.down}.bias`),
      downScale: mlpScale === undefined ? undefined : vector(mlpScale),
    };
  });
}

/** The layers' weights in GPU memory. */
export type EncoderWeights = readonly Placed<PlannedEncoderLayer>[];

/** Takes memory for the layers. @throws RandloraError `memory` */
export function placeEncoder(placed: PlacedWeights, config: EncoderConfig): EncoderWeights {
  return planEncoder(config).map((layer) => placed.placeAll(layer));
}

/** How a stack of layers is gone through. */
export interface EncoderPass {
  readonly linears: Linears;
  /** The first and the last key that each row sees, (1, rows) U32; `last` undefined: itself. */
  readonly first: Tensor;
  readonly last: Tensor | undefined;
  /** Keep the hidden states between layers alone, and compute each layer again when it is differentiated. */
  readonly checkpointing: boolean;
}

/** Records the layers over x (rows, width), which is released: hidden states of the same shape. */
export function recordEncoder(
  recorder: Recorder,
  config: EncoderConfig,
  weights: EncoderWeights,
  { checkpointing, ...pass }: EncoderPass,
  x: Tensor,
): Tensor {
  const given = pass.last === undefined ? [pass.first] : [pass.first, pass.last];
  let hidden = x;
  for (const layer of weights) {
    const before = hidden;
    const record = (inner: Recorder) => recordLayer(inner, config, layer, pass, before);
    hidden = checkpointing ? recorder.segment([before, ...given], record) : record(recorder);
    recorder.release(before);
  }
  return hidden;
}

function recordLayer(
  recorder: Recorder,
  config: EncoderConfig,
  layer: EncoderWeights[number],
  { linears, first, last }: Omit<EncoderPass, "checkpointing">,
  x: Tensor,
): Tensor {
  const { heads, headSize, epsilon, activation, names } = config;
  const shape = { heads, kvHeads: heads, headSize, scale: headSize ** -0.5, softcap: undefined, window: Infinity };
  const sight: Sight = { rope: undefined, past: undefined, first, last };
  const norm = (weight: Tensor, bias: Tensor): Norm => ({ kind: "layer", weight, bias, epsilon });
  const attention = {
    norm: norm(layer.attentionNorm, layer.attentionNormBias),
    qkv: layer.qkv,
    qkvBias: layer.qkvBias,
    queryNorm: undefined,
    keyNorm: undefined,
    output: { weight: layer.output, bias: layer.outputBias, norm: undefined, scale: layer.outputScale },
  };
  const plain = { gateUp: undefined, gateUpBias: undefined, up: layer.up, upBias: layer.upBias };
  const gated = { gateUp: layer.up, gateUpBias: layer.upBias, up: undefined, upBias: undefined };
  const mlp = {
    norm: norm(layer.mlpNorm, layer.mlpNormBias),
    ...(names.gated ? gated : plain),
    output: { weight: layer.down, bias: layer.downBias, norm: undefined, scale: layer.downScale },
  };
  const before = streamOf(x);
  const attended = recordAttention(recorder, linears, shape, attention, sight, before);
  const updated = recordMlp(recorder, linears, activation, mlp, attended);
  releaseStream(recorder, attended, updated);
  return recordWhole(recorder, updated, before);
}

/** Every matrix and vector of a tower's parts, in an order that follows from the config alone. */
export function matricesOf(parts: readonly Readonly<Record<string, Tensor | undefined>>[]): Tensor[] {
  return parts.flatMap((weights) => Object.values(weights)).filter((matrix) => matrix !== undefined);
}
