import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { recordAttention } from "../blocks/attention.ts";
import { recordMlp } from "../blocks/mlp.ts";
import { recordNorm, type RmsNorm } from "../blocks/norm.ts";
import type { Angles } from "../blocks/rope.ts";
import { recordSum, releaseStream, type Stream } from "../blocks/stream.ts";
import type { DecoderConfig } from "./config.ts";
import type { Linears } from "../blocks/linears.ts";
import type { DecoderWeights, LayerWeights } from "./weights.ts";

/** Keys and values of the positions before a pass, which its own join; a `KvCache` is one. */
export interface Past {
  /** Positions that are filled. */
  readonly length: number;
  /** Where those of the pass go, (1, tokens) U32; undefined: behind what is filled. */
  readonly rows?: Tensor | undefined;
  /** One layer's matrices, which have room for those of the pass. */
  layer(index: number): { readonly keys: Tensor; readonly values: Tensor };
}

/** What one pass over some tokens goes by. */
export interface Pass {
  readonly config: DecoderConfig;
  readonly weights: DecoderWeights;
  readonly linears: Linears;
  /** Of each of the config's ropes. */
  readonly tables: readonly Angles[];
  /** Undefined: attention sees the tokens of the pass alone, and nothing of it remains. */
  readonly past: Past | undefined;
  /** (1, tokens) U32, the first row that a token sees; undefined: the first of all. */
  readonly starts: Tensor | undefined;
  /** (1, tokens) U32, the last row that a token sees; undefined: its own. */
  readonly ends?: Tensor | undefined;
}

/** Records layer number `index`: the stream that comes of the one before it, whose tensors are not released. */
export function recordLayer(recorder: Recorder, pass: Pass, index: number, stream: Stream): Stream {
  const { config, linears, past, starts, ends } = pass;
  const layerConfig = config.layers[index];
  const layer = pass.weights.layers[index];
  const rope = pass.tables[layerConfig?.rope ?? NaN];
  if (layerConfig === undefined || layer === undefined || rope === undefined) {
    throw new RangeError(`layer ${index} without config, weights or rope`);
  }
  const { heads, kvHeads, headSize, attentionScale: scale, attentionSoftcap: softcap } = config;
  const { window } = layerConfig;
  const { attention, mlp } = blocksOf(config, layer);
  const filled = past && { length: past.length, rows: past.rows, ...past.layer(index) };
  const shape = { heads, kvHeads, headSize, scale, softcap, window };
  const sight = { rope, past: filled, first: starts, last: ends };
  const attended = recordAttention(recorder, linears, shape, attention, sight, stream);
  const updated = recordMlp(recorder, linears, config.activation, mlp, attended);
  releaseStream(recorder, attended, stream, updated);
  return updated;
}

/** Records the norm after the last layer, and releases its input. */
export function recordLastNorm(recorder: Recorder, { config, weights }: Pass, stream: Stream): Tensor {
  const x = recordSum(recorder, stream);
  const y = recordNorm(recorder, rms(config, weights.norm), x);
  if (x !== stream.x) recorder.release(x);
  releaseStream(recorder, stream);
  return y;
}

/** A layer's weights as those of its blocks. */
function blocksOf(config: DecoderConfig, layer: LayerWeights) {
  const norm = (weight: Tensor | undefined) => weight && rms(config, weight);
  const output = (weight: Tensor, bias: Tensor | undefined, after: Tensor | undefined) => ({
    weight,
    bias,
    norm: norm(after),
  });
  const { queryNorm, keyNorm } = layer;
  return {
    attention: {
      ...layer,
      norm: rms(config, layer.inputNorm),
      queryNorm: norm(queryNorm),
      keyNorm: norm(keyNorm),
      output: output(layer.output, layer.outputBias, layer.attentionNorm),
    },
    mlp: { ...layer, norm: rms(config, layer.mlpNorm), output: output(layer.down, layer.downBias, layer.outNorm) },
  };
}

function rms({ epsilon, normOffset }: DecoderConfig, weight: Tensor): RmsNorm {
  return { kind: "rms", weight, epsilon, offset: normOffset };
}
