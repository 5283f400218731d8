import { OPS } from "../tensor/ops/index.ts";
import type { Recorder } from "../tensor/recorder.ts";
import { sliceCols, sliceRows, type Tensor } from "../tensor/tensor.ts";
import type { DecoderConfig, LayerConfig } from "./config.ts";
import type { Linears } from "./linears.ts";
import { angles } from "./rope-scaling.ts";
import type { DecoderWeights, LayerWeights } from "./weights.ts";

/** cos and sin of one rope for the rows of a pass. */
export interface Angles {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** Keys and values of the positions before a pass, which its own join; a `KvCache` is one. */
export interface Past {
  /** Positions that are filled. */
  readonly length: number;
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
}

/**
 * Uploads the angles of every rope for tokens at these positions.
 * @param length of the sequence, or of the longest: what RoPE that depends on the length goes by
 */
export function uploadAngles(
  recorder: Recorder,
  { ropes }: DecoderConfig,
  length: number,
  positions: ArrayLike<number>,
): Angles[] {
  return ropes.map((rope) => {
    const { cos, sin } = angles(rope, length, positions);
    const shape = [positions.length, rope.size / 2] as const;
    return { cos: recorder.upload("cos", shape, cos), sin: recorder.upload("sin", shape, sin) };
  });
}

/** Records layer number `index`: hidden states (tokens, hidden) from those before it, which are not released. */
export function recordLayer(recorder: Recorder, pass: Pass, index: number, x: Tensor): Tensor {
  const layerConfig = pass.config.layers[index];
  const layer = pass.weights.layers[index];
  const table = pass.tables[layerConfig?.rope ?? NaN];
  if (layerConfig === undefined || layer === undefined || table === undefined) {
    throw new RangeError(`layer ${index} without config, weights or rope`);
  }
  const attended = attend(recorder, pass, layerConfig, layer, index, table, x);
  const updated = feedForward(recorder, pass, layer, attended);
  recorder.release(attended);
  return updated;
}

/** Records the norm after the last layer, and releases its input. */
export function recordLastNorm(recorder: Recorder, { config, weights }: Pass, x: Tensor): Tensor {
  const { y } = recorder.apply(OPS.rmsNorm, { x, weight: weights.norm }, normAttributes(config));
  recorder.release(x);
  return y;
}

/** x + attention(norm(x)). */
function attend(
  recorder: Recorder,
  { config, linears, past, starts }: Pass,
  { window }: LayerConfig,
  layer: LayerWeights,
  index: number,
  table: Angles,
  x: Tensor,
): Tensor {
  const { heads, kvHeads, headSize } = config;
  const norm = normAttributes(config);
  const tokens = x.shape[0];
  const [width, kvWidth] = [heads * headSize, kvHeads * headSize];
  const { y: normed } = recorder.apply(OPS.rmsNorm, { x, weight: layer.inputNorm }, norm);
  const qkv = linears.apply(recorder, projection(normed, layer.qkv, layer.qkvBias));
  recorder.release(normed);
  let q = sliceCols(qkv, 0, width);
  let k = sliceCols(qkv, width, kvWidth);
  const v = sliceCols(qkv, width + kvWidth, kvWidth);
  const separate: Tensor[] = [];
  if (layer.queryNorm !== undefined && layer.keyNorm !== undefined) {
    ({ y: q } = recorder.apply(OPS.rmsNorm, { x: q, weight: layer.queryNorm }, norm));
    ({ y: k } = recorder.apply(OPS.rmsNorm, { x: k, weight: layer.keyNorm }, norm));
    separate.push(q, k);
  }
  const cached = past?.layer(index);
  const first = past?.length ?? 0;
  const into =
    cached === undefined
      ? {}
      : { k: sliceRows(cached.keys, first, tokens), v: sliceRows(cached.values, first, tokens) };
  const turned = recorder.apply(OPS.rope, { q, k, v, ...table }, { headSize }, into);
  recorder.release(qkv, ...separate);
  const attributes = {
    headSize,
    firstPosition: first,
    scale: config.attentionScale,
    window,
    softcap: config.attentionSoftcap,
    lse: cached === undefined, // a pass without a cache is one that may be differentiated
  };
  const { keys, values } = cached ?? { keys: turned.k, values: turned.v };
  const { y: mixed, lse } = recorder.apply(
    OPS.attention,
    { q: turned.q, keys, values, first: starts, last: undefined },
    attributes,
  );
  recorder.release(turned.q);
  if (lse !== undefined) recorder.release(lse);
  if (cached === undefined) recorder.release(turned.k, turned.v);
  const output = projection(mixed, layer.output, layer.outputBias);
  const result = addProjected(recorder, config, linears, output, layer.attentionNorm, x);
  recorder.release(mixed);
  return result;
}

/** x + mlp(norm(x)). */
function feedForward(recorder: Recorder, { config, linears }: Pass, layer: LayerWeights, x: Tensor): Tensor {
  const { y: normed } = recorder.apply(OPS.rmsNorm, { x, weight: layer.mlpNorm }, normAttributes(config));
  const [gate, up] = gateAndUp(recorder, linears, config.intermediateSize, layer, normed);
  recorder.release(normed);
  const { y: gated } = recorder.apply(OPS.gatedActivation, { gate, up }, { kind: config.activation });
  recorder.release(gate, ...(up.buffer === gate.buffer ? [] : [up]));
  const output = projection(gated, layer.down, layer.downBias);
  const result = addProjected(recorder, config, linears, output, layer.outNorm, x);
  recorder.release(gated);
  return result;
}

/** One product where its halves can be looked at apart, else two. */
function gateAndUp(
  recorder: Recorder,
  linears: Linears,
  size: number,
  { gateUp, gateUpBias, up, upBias }: LayerWeights,
  x: Tensor,
): [gate: Tensor, up: Tensor] {
  const project = (weight: Tensor, bias?: Tensor) => linears.apply(recorder, projection(x, weight, bias));
  if (up !== undefined) return [project(gateUp, gateUpBias), project(up, upBias)];
  // Fused in the checkpoint (Phi 3, which has no biases).
  if (size % 4 !== 0) return [project(sliceRows(gateUp, 0, size)), project(sliceRows(gateUp, size, size))];
  const both = project(gateUp, gateUpBias);
  return [sliceCols(both, 0, size), sliceCols(both, size, size)];
}

/** residual + W x, or residual + norm(W x) where the architecture has such a norm. */
function addProjected(
  recorder: Recorder,
  config: DecoderConfig,
  linears: Linears,
  output: ReturnType<typeof projection>,
  norm: Tensor | undefined,
  residual: Tensor,
): Tensor {
  if (norm === undefined) return linears.apply(recorder, { ...output, residual });
  const projected = linears.apply(recorder, output);
  const { y: normed } = recorder.apply(OPS.rmsNorm, { x: projected, weight: norm }, normAttributes(config));
  const { y } = recorder.apply(OPS.add, { a: residual, b: normed }, {});
  recorder.release(projected, normed);
  return y;
}

function projection(x: Tensor, weight: Tensor, bias: Tensor | undefined) {
  return { x, weight, bias, residual: undefined };
}

function normAttributes({ epsilon, normOffset }: DecoderConfig) {
  return { epsilon, offset: normOffset };
}
