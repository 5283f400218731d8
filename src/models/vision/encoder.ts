import type { Activation } from "../../compute/tensor/elementwise.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Sight } from "../blocks/sight.ts";
import { type Block, recordBlocks } from "../blocks/block.ts";
import type { Norm } from "../blocks/norm.ts";
import { recordWhole, streamOf } from "../blocks/stream.ts";
import type { Linears } from "../blocks/linears.ts";
import type { PlacedWeights } from "../placed-weights.ts";
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

/** Names and shapes of the layers' tensors: attention and an MLP, with layer norms before them and biases. */
export function planEncoder(config: EncoderConfig): Block<PlannedMatrix>[][] {
  const { width, inner, heads, headSize, epsilon, activation, qkvBias, names } = config;
  return Array.from({ length: config.layers }, (_, index) => {
    const path = (name: string) => `${names.layer(index)}.${name}`;
    const vector = (name: string, size = width) => plannedVector([path(name), [size]]);
    const norm = (name: string): Norm<PlannedMatrix> => {
      return { kind: "layer", weight: vector(`${name}.weight`), bias: vector(`${name}.bias`), epsilon };
    };
    const linear = (name: string, rows: number, cols: number) => ({
      weight: plannedLinear(cols, [path(`${name}.weight`), [rows, cols]]),
      bias: vector(`${name}.bias`, rows),
    });
    const qkv = [names.query, names.key, names.value];
    const up = linear(names.up, names.gated ? 2 * inner : inner, width);
    const [attentionScale, mlpScale] = names.scales ?? [];
    const scaled = (name: string | undefined) => (name === undefined ? undefined : vector(name));
    return [
      {
        before: norm(names.attentionNorm),
        mixer: {
          kind: "attention",
          heads,
          kvHeads: heads,
          headSize,
          scale: headSize ** -0.5,
          softcap: undefined,
          window: Infinity,
          rope: undefined,
          neighbors: false,
          qkv: plannedLinear(width, ...qkv.map((name) => [path(`${name}.weight`), [width, width]] as const)),
          qkvBias: qkvBias ? plannedVector(...qkv.map((name) => [path(`${name}.bias`), [width]] as const)) : undefined,
          queryNorm: undefined,
          keyNorm: undefined,
          output: linear(names.output, width, width),
        },
        scale: scaled(attentionScale),
      },
      {
        before: norm(names.mlpNorm),
        mixer: {
          kind: "mlp",
          activation,
          gateUp: names.gated ? up.weight : undefined,
          gateUpBias: names.gated ? up.bias : undefined,
          up: names.gated ? undefined : up.weight,
          upBias: names.gated ? undefined : up.bias,
          output: linear(names.down, width, inner),
        },
        scale: scaled(mlpScale),
      },
    ];
  });
}

/** The layers' weights in GPU memory. */
export type EncoderWeights = readonly (readonly Block[])[];

/** Takes memory for the layers. @throws RandloraError `memory` */
export function placeEncoder(placed: PlacedWeights, config: EncoderConfig): EncoderWeights {
  return placed.placeAll(planEncoder(config));
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
  layers: EncoderWeights,
  { checkpointing, linears, first, last }: EncoderPass,
  x: Tensor,
): Tensor {
  const given = last === undefined ? [first] : [first, last];
  const sight: Sight = { tables: [], past: undefined, first, last };
  let hidden = x;
  for (const layer of layers) {
    const before = hidden;
    const record = (inner: Recorder) => {
      const stream = streamOf(before);
      return [recordWhole(inner, recordBlocks(inner, linears, layer, sight, stream), stream)] as const;
    };
    [hidden] = checkpointing ? recorder.segment([before, ...given], record) : record(recorder);
    recorder.release(before);
  }
  return hidden;
}
