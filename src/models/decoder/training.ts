import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { recordWhole, streamOf } from "../blocks/stream.ts";
import type { PassKeys } from "../blocks/sight.ts";
import { type DecoderConfig, keysOf } from "./config.ts";
import { type Pass, recordLastNorm, recordLayer, recordLayerInputs, uploadLayerRows } from "./forward.ts";
import type { Linears } from "../blocks/linears.ts";
import { recordEmbeddings, tensorsOfPositions, uploadPositions } from "./positions.ts";
import type { DecoderWeights } from "./weights.ts";

/** N tokens of whole samples one after another, without padding; every array of S or N numbers. */
export interface TrainingBatch {
  /** (N) token ids, each below the vocabulary. */
  readonly ids: Uint32Array;
  /** (N) position of each token in its sample. */
  readonly positions: Uint32Array;
  /** (N) row of the first token of each token's sample. */
  readonly starts: Uint32Array;
  /** (S) rows whose next token is predicted, ascending; at least one. */
  readonly rows: Uint32Array;
  /** (S) the tokens that they must predict. */
  readonly targets: Uint32Array;
}

export interface TrainingOptions {
  /** Keep the hidden states between layers alone, and compute each layer again when it is differentiated. */
  readonly checkpointing?: boolean;
}

/** The tokens of a batch, whether they are supervised or not. */
export type SampleTokens = Pick<TrainingBatch, "ids" | "positions" | "starts">;

/**
 * Records the loss of a micro-batch: the negative log-likelihood of each supervised token in nats, (S, 1). On a `Tape`
 * it can be differentiated; on a `Run` it is an evaluation. See {@link recordSamples}. The caller releases the result.
 */
export function recordTraining(
  recorder: Recorder,
  config: DecoderConfig,
  weights: DecoderWeights,
  linears: Linears,
  batch: TrainingBatch,
  options: TrainingOptions = {},
): Tensor {
  const hidden = recordSamples(recorder, config, weights, linears, batch, options);
  const [indices, targets] = [row(recorder, "rows", batch.rows), row(recorder, "targets", batch.targets)];
  const { y: predicting } = recorder.apply(OPS.rows, { x: hidden, indices }, {});
  recorder.release(hidden);
  const inputs = { x: predicting, weight: weights.head, bias: weights.headBias, targets };
  const { y: nll } = recorder.apply(OPS.nll, inputs, { softcap: config.logitSoftcap });
  recorder.release(predicting, indices, targets);
  return nll;
}

/**
 * Records a pass over whole samples: hidden states after the last norm, (N, hidden). A token sees those of its own
 * sample alone. RoPE that depends on the length goes by the longest sample. The caller releases the result.
 */
export function recordSamples(
  recorder: Recorder,
  config: DecoderConfig,
  weights: DecoderWeights,
  linears: Linears,
  batch: SampleTokens,
  { checkpointing = false }: TrainingOptions = {},
): Tensor {
  const [ids, starts] = [row(recorder, "ids", batch.ids), row(recorder, "starts", batch.starts)];
  const longest = batch.positions.reduce((most, position) => Math.max(most, position + 1), 0);
  const standing = uploadPositions(recorder, config, longest, batch.positions);
  const began = { config, weights, linears, ...standing, past: undefined, starts };
  let x = recordEmbeddings(recorder, began, ids);
  const rows = uploadLayerRows(recorder, weights, batch.ids);
  const inputs = recordLayerInputs(recorder, linears, weights, x, rows);
  if (rows !== undefined) recorder.release(rows);
  const pass: Pass = { ...began, inputs };
  const ofLayers = inputs === undefined ? [] : [inputs];
  const given = [starts, ...tensorsOfPositions(standing), ...ofLayers];
  const read = new Set(config.layers.map(keysOf));
  const kept = new Map<number, PassKeys>();
  for (const [index, layer] of config.layers.entries()) {
    const before = streamOf(x);
    const shared = kept.get(keysOf(layer) ?? NaN);
    const record = (inner: Recorder) => {
      let own: PassKeys | undefined;
      const share = read.has(index) ? (keys: PassKeys) => (own = keys) : undefined;
      const whole = recordWhole(inner, recordLayer(inner, pass, index, before, { shared, share }), before);
      return [whole, ...tensorsOfKeys(own)] as const;
    };
    const reads = [before.x, ...tensorsOfKeys(shared), ...given];
    const [after, keys, values] = checkpointing ? recorder.segment(reads, record) : record(recorder);
    if (keys !== undefined && values !== undefined) kept.set(index, { keys, values });
    recorder.release(before.x);
    x = after;
  }
  const hidden = recordLastNorm(recorder, pass, streamOf(x));
  recorder.release(ids, ...given, ...[...kept.values()].flatMap(tensorsOfKeys));
  return hidden;
}

function tensorsOfKeys(keys: PassKeys | undefined): readonly Tensor[] {
  return keys === undefined ? [] : [keys.keys, keys.values];
}

function row(recorder: Recorder, label: string, values: Uint32Array): Tensor {
  return recorder.upload(label, [1, values.length], new Uint32Array(values));
}
