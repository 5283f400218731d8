import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { recordBlocks } from "../blocks/block.ts";
import type { Linears } from "../blocks/linears.ts";
import type { Past, Sight } from "../blocks/sight.ts";
import { recordInput, releaseStream, type Stream, streamOf } from "../blocks/stream.ts";
import type { DecoderConfig } from "./config.ts";
import { type PassPositions, recordEmbeddings, uploadPositions } from "./positions.ts";
import type { DecoderWeights } from "./weights.ts";
import { recordNorm } from "../blocks/norm.ts";
import type { Run } from "../../compute/tensor/run.ts";
import type { Slot } from "./cache/slot.ts";

/** What one pass over some tokens goes by. */
export interface Pass extends PassPositions {
  readonly config: DecoderConfig;
  readonly weights: DecoderWeights;
  readonly linears: Linears;
  /** Undefined: attention sees the tokens of the pass alone, and nothing of it remains. */
  readonly past: Past | undefined;
  /** See `Sight`. */
  readonly inputs?: Tensor | undefined;
  /** (1, tokens) U32, the first row that a token sees where nothing is past; undefined: the first of all. */
  readonly starts: Tensor | undefined;
}

/**
 * Records layer number `index`: the stream that comes of the one before it, whose tensors are not released.
 * @param keys those that layers share, where nothing is past; see `Sight`
 */
export function recordLayer(
  recorder: Recorder,
  pass: Pass,
  index: number,
  stream: Stream,
  keys: Pick<Sight, "shared" | "share"> = {},
): Stream {
  const { linears, past, tables, starts, inputs } = pass;
  const blocks = pass.weights.layers[index];
  if (blocks === undefined) throw new RangeError(`layer ${index} without weights`);
  const filled = past?.layer(index);
  const rows = filled?.rows;
  const sight = { tables, past: filled, first: rows?.first ?? starts, last: rows?.own, inputs, ...keys };
  return recordBlocks(recorder, linears, blocks, sight, stream);
}

/** Records the norm after the last layer, times what logits are multiplied by, and releases its input. */
export function recordLastNorm(recorder: Recorder, { config, weights }: Pass, stream: Stream): Tensor {
  const { x, normed } = recordInput(recorder, weights.norm, stream);
  if (x !== stream.x) recorder.release(x);
  releaseStream(recorder, stream);
  if (config.logitScale === 1) return normed;
  const { y } = recorder.apply(OPS.scale, { x: normed }, { factor: config.logitScale });
  recorder.release(normed);
  return y;
}

/** Uploads the rows of tokens `ids`, (tokens, layers · size) F32; undefined: the model has no such table. @throws RandloraError `file` */
export function uploadLayerRows(
  recorder: Recorder,
  weights: DecoderWeights,
  ids: ArrayLike<number>,
): Tensor | undefined {
  const { layerTable } = weights;
  return layerTable && recorder.upload("rows of layers", [ids.length, layerTable.cols], layerRows(weights, ids));
}

/** The same rows in the host's memory. */
export function layerRows({ layerTable, layerInputs }: DecoderWeights, ids: ArrayLike<number>) {
  if (layerTable === undefined || layerInputs === undefined) return new Float32Array();
  return layerTable.rows(ids, layerInputs.scale);
}

/** Records (norm(projection x) + rows) / √2 of embeddings x; undefined: the model has none of it. Neither x nor the rows are released. */
export function recordLayerInputs(
  recorder: Recorder,
  linears: Linears,
  { layerInputs }: DecoderWeights,
  x: Tensor,
  rows: Tensor | undefined,
): Tensor | undefined {
  if (layerInputs === undefined || rows === undefined) return undefined;
  const { projection: weight, norm } = layerInputs;
  const projected = linears.apply(recorder, { x, weight, bias: undefined, residual: undefined });
  const normed = recordNorm(recorder, norm, projected);
  const { y: sum } = recorder.apply(OPS.add, { a: normed, b: rows }, {});
  const { y } = recorder.apply(OPS.scale, { x: sum }, { factor: Math.SQRT1_2 });
  recorder.release(projected, normed, sum);
  return y;
}

/**
 * Records one pass of the decoder over some tokens, which take the positions after those in a slot and join it.
 * @param linears how its projections are computed
 * @param ids each below the vocabulary
 * @param sequenceLength tokens of the whole sequence: what RoPE that depends on the length goes by
 * @param isPrompt see `Slot.prefilled`
 * @returns hidden states after the last norm, (tokens, hidden)
 * @throws RandloraError `model` for positions that the model has no embeddings for; `memory`
 */
export function recordForward(
  run: Run,
  config: DecoderConfig,
  weights: DecoderWeights,
  linears: Linears,
  slot: Slot,
  ids: readonly number[],
  sequenceLength: number,
  isPrompt = true,
): Tensor {
  const tokens = ids.length;
  const positions = Array.from({ length: tokens }, (_, row) => slot.length + row);
  const standing = uploadPositions(run, config, sequenceLength, positions);
  const uploaded = run.upload("ids", [1, tokens], Uint32Array.from(ids));
  const rows = uploadLayerRows(run, weights, ids);
  const hidden = recordPass(run, { config, weights, linears, ...standing, past: slot.past() }, uploaded, rows);
  slot.advance(ids, sequenceLength, isPrompt);
  return hidden;
}

/** What a pass over new tokens goes by. */
type NewTokens = Pick<Pass, "config" | "weights" | "linears" | "tables" | "past"> & Partial<Pass>;

/**
 * Records one pass over `ids` (1, tokens) with angles for them; hidden states after the last norm, (tokens, hidden).
 * @param rows what `uploadLayerRows` has of them
 */
export function recordPass(run: Run, tokens: NewTokens, ids: Tensor, rows?: Tensor): Tensor {
  const standing = { starts: undefined, ...tokens };
  const { linears, weights } = tokens;
  const x = recordEmbeddings(run, standing, ids);
  const inputs = recordLayerInputs(run, linears, weights, x, rows);
  const pass = { ...standing, inputs };
  let stream = streamOf(x);
  pass.config.layers.forEach((_, index) => {
    const updated = recordLayer(run, pass, index, stream);
    releaseStream(run, stream, updated);
    stream = updated;
  });
  if (inputs !== undefined) run.release(inputs);
  return recordLastNorm(run, pass, stream);
}

/**
 * Records the output matrix and the soft cap: logits (rows, vocabulary) of hidden states.
 * @param rowsAtMost see OPS.linear
 */
export function recordLogits(
  run: Run,
  config: DecoderConfig,
  weights: DecoderWeights,
  hidden: Tensor,
  rowsAtMost?: number,
): Tensor {
  const inputs = { x: hidden, weight: weights.head, bias: weights.headBias, residual: undefined };
  const { y: logits } = run.apply(OPS.linear, inputs, { rowsAtMost });
  if (config.logitSoftcap === undefined) return logits;
  const { y } = run.apply(OPS.softcap, { x: logits }, { cap: config.logitSoftcap });
  run.release(logits);
  return y;
}
