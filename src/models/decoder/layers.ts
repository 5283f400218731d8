import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { recordBlocks } from "../blocks/block.ts";
import type { Linears } from "../blocks/linears.ts";
import type { Filled, Sight } from "../blocks/sight.ts";
import { recordInput, releaseStream, type Stream } from "../blocks/stream.ts";
import type { DecoderConfig } from "./config.ts";
import type { PassPositions } from "./positions.ts";
import type { DecoderWeights } from "./weights.ts";

/** What is kept of the positions before a pass, which its own join. */
export interface Past {
  layer(index: number): Filled;
}

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
