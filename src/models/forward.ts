import { OPS } from "../tensor/ops/index.ts";
import type { Run } from "../tensor/run.ts";
import { sliceCols, sliceRows, type Tensor } from "../tensor/tensor.ts";
import type { DecoderConfig, LayerConfig } from "./config.ts";
import type { KvCache } from "./kv-cache.ts";
import { angles } from "./rope-scaling.ts";
import type { DecoderWeights, LayerWeights } from "./weights.ts";

/** cos and sin of one rope for the rows of this pass. */
interface Angles {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/**
 * Records one pass of the decoder over some tokens, which take the positions after those in the cache and join it.
 * @param ids (1, tokens) U32, each below the vocabulary
 * @param sequenceLength tokens of the whole sequence: what RoPE that depends on the length goes by
 * @returns hidden states after the last norm, (tokens, hidden)
 */
export function recordForward(
  run: Run,
  config: DecoderConfig,
  weights: DecoderWeights,
  cache: KvCache,
  ids: Tensor,
  sequenceLength: number,
): Tensor {
  const tokens = ids.shape[1];
  const first = cache.length;
  cache.reserve(first + tokens);
  const tables = config.ropes.map((rope): Angles => {
    const { cos, sin } = angles(rope, sequenceLength, first, tokens);
    const shape = [tokens, rope.size / 2] as const;
    return { cos: run.upload("cos", shape, cos), sin: run.upload("sin", shape, sin) };
  });
  let { y: x } = run.apply(OPS.embedding, { ids, table: weights.embedding }, { scale: config.embeddingScale });
  config.layers.forEach((layerConfig, index) => {
    const layer = weights.layers[index];
    const table = tables[layerConfig.rope];
    if (layer === undefined || table === undefined) throw new RangeError(`layer ${index} without weights or rope`);
    const attended = attend(run, config, layerConfig, layer, index, cache, table, x);
    const updated = feedForward(run, config, layer, attended);
    run.release(x, attended);
    x = updated;
  });
  const { y } = run.apply(OPS.rmsNorm, { x, weight: weights.norm }, normAttributes(config));
  run.release(x);
  cache.advance(tokens);
  return y;
}

/** Records the output matrix and the soft cap: logits (rows, vocabulary) of hidden states. */
export function recordLogits(run: Run, config: DecoderConfig, weights: DecoderWeights, hidden: Tensor): Tensor {
  const { y: logits } = run.apply(OPS.linear, linearInputs(hidden, weights.head), {});
  if (config.logitSoftcap === undefined) return logits;
  const { y } = run.apply(OPS.softcap, { x: logits }, { cap: config.logitSoftcap });
  run.release(logits);
  return y;
}

/** x + attention(norm(x)). */
function attend(
  run: Run,
  config: DecoderConfig,
  { window }: LayerConfig,
  layer: LayerWeights,
  index: number,
  cache: KvCache,
  table: Angles,
  x: Tensor,
): Tensor {
  const { heads, kvHeads, headSize } = config;
  const norm = normAttributes(config);
  const tokens = x.shape[0];
  const [width, kvWidth] = [heads * headSize, kvHeads * headSize];
  const { y: normed } = run.apply(OPS.rmsNorm, { x, weight: layer.inputNorm }, norm);
  const { y: qkv } = run.apply(OPS.linear, linearInputs(normed, layer.qkv, layer.qkvBias), {});
  run.release(normed);
  let q = sliceCols(qkv, 0, width);
  let k = sliceCols(qkv, width, kvWidth);
  const v = sliceCols(qkv, width + kvWidth, kvWidth);
  const separate: Tensor[] = [];
  if (layer.queryNorm !== undefined && layer.keyNorm !== undefined) {
    ({ y: q } = run.apply(OPS.rmsNorm, { x: q, weight: layer.queryNorm }, norm));
    ({ y: k } = run.apply(OPS.rmsNorm, { x: k, weight: layer.keyNorm }, norm));
    separate.push(q, k);
  }
  const { keys, values } = cache.layer(index);
  const into = { k: sliceRows(keys, cache.length, tokens), v: sliceRows(values, cache.length, tokens) };
  const turned = run.apply(OPS.rope, { q, k, v, ...table }, { headSize }, into);
  run.release(qkv, ...separate);
  const attributes = {
    headSize,
    firstPosition: cache.length,
    scale: config.attentionScale,
    window,
    softcap: config.attentionSoftcap,
  };
  const { y: mixed } = run.apply(OPS.attention, { q: turned.q, keys, values }, attributes);
  run.release(turned.q);
  const result = project(run, config, mixed, layer.output, layer.outputBias, layer.attentionNorm, x);
  run.release(mixed);
  return result;
}

/** x + mlp(norm(x)). */
function feedForward(run: Run, config: DecoderConfig, layer: LayerWeights, x: Tensor): Tensor {
  const { intermediateSize } = config;
  const { y: normed } = run.apply(OPS.rmsNorm, { x, weight: layer.mlpNorm }, normAttributes(config));
  const { y: gateUp } = run.apply(OPS.linear, linearInputs(normed, layer.gateUp, layer.gateUpBias), {});
  run.release(normed);
  const halves = {
    gate: sliceCols(gateUp, 0, intermediateSize),
    up: sliceCols(gateUp, intermediateSize, intermediateSize),
  };
  const { y: gated } = run.apply(OPS.gatedActivation, halves, { kind: config.activation });
  run.release(gateUp);
  const result = project(run, config, gated, layer.down, layer.downBias, layer.outNorm, x);
  run.release(gated);
  return result;
}

/** residual + W x, or residual + norm(W x) where the architecture has such a norm. */
function project(
  run: Run,
  config: DecoderConfig,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  norm: Tensor | undefined,
  residual: Tensor,
): Tensor {
  if (norm === undefined) return run.apply(OPS.linear, { ...linearInputs(x, weight, bias), residual }, {}).y;
  const { y: projected } = run.apply(OPS.linear, linearInputs(x, weight, bias), {});
  const { y: normed } = run.apply(OPS.rmsNorm, { x: projected, weight: norm }, normAttributes(config));
  const { y } = run.apply(OPS.add, { a: residual, b: normed }, {});
  run.release(projected, normed);
  return y;
}

function linearInputs(x: Tensor, weight: Tensor, bias?: Tensor) {
  return { x, weight, bias, residual: undefined };
}

function normAttributes({ epsilon, normOffset }: DecoderConfig) {
  return { epsilon, offset: normOffset };
}
