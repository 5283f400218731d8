import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Run } from "../../compute/tensor/run.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { releaseStream, streamOf } from "../blocks/stream.ts";
import type { DecoderConfig } from "./config.ts";
import type { Slot } from "./cache/slot.ts";
import { type Pass, recordLastNorm, recordLayer } from "./layers.ts";
import type { Linears } from "../blocks/linears.ts";
import { recordLayerInputs, uploadLayerRows } from "./layer-inputs.ts";
import { recordEmbeddings, uploadPositions } from "./positions.ts";
import type { DecoderWeights } from "./weights.ts";

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
