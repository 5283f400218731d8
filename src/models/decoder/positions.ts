import { RandloraError } from "../../files/errors.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { type Angles, tensorsOfAngles, uploadAngles } from "../blocks/rope.ts";
import type { DecoderConfig } from "./config.ts";
import type { DecoderWeights } from "./weights.ts";

/** Where the tokens of a pass stand. */
export interface PassPositions {
  /** Of each of the config's ropes. */
  readonly tables: readonly Angles[];
  /** (1, tokens) U32, rows of learned position embeddings; undefined: the model has none. */
  readonly positions?: Tensor | undefined;
}

/**
 * Uploads what tokens at these positions go by.
 * @param length of the sequence, or of the longest: what RoPE that depends on the length goes by
 * @throws RandloraError as `checkPositions`
 */
export function uploadPositions(
  recorder: Recorder,
  config: Pick<DecoderConfig, "ropes" | "positions" | "contextLength">,
  length: number,
  positions: ArrayLike<number>,
): PassPositions {
  checkPositions(config, positions);
  return {
    tables: uploadAngles(recorder, config.ropes, length, positions),
    positions: config.positions && recorder.upload("positions", [1, positions.length], Uint32Array.from(positions)),
  };
}

/** Every tensor of them. */
export function tensorsOfPositions({ tables, positions }: PassPositions): Tensor[] {
  return [...tables.flatMap(tensorsOfAngles), ...(positions === undefined ? [] : [positions])];
}

/** Tokens of a text at most: as many as there are learned positions; RoPE goes on beyond the context. */
export function mostPositions({
  positions,
  contextLength,
}: Pick<DecoderConfig, "positions" | "contextLength">): number {
  return positions === undefined ? Infinity : contextLength;
}

/** @throws RandloraError `model` for a position beyond those that the model has embeddings for */
export function checkPositions(
  config: Pick<DecoderConfig, "positions" | "contextLength">,
  positions: ArrayLike<number>,
): void {
  const most = mostPositions(config);
  if (most === Infinity || Array.from(positions).every((position) => position < most)) return;
  const cause = `a sequence of more than ${most} tokens: this model has no position embeddings beyond`;
  throw new RandloraError("model", cause, "shorten it, or choose a model with a longer context");
}

/** Records what the layers begin from: embeddings of tokens `ids` (1, tokens), and of their positions where those are learned. */
export function recordEmbeddings(
  recorder: Recorder,
  { config, weights, positions }: PassPositions & { readonly config: DecoderConfig; readonly weights: DecoderWeights },
  ids: Tensor,
): Tensor {
  const { y: tokens } = recorder.apply(
    OPS.embedding,
    { ids, table: weights.embedding },
    { scale: config.embeddingScale },
  );
  if (positions === undefined || weights.positions === undefined) return tokens;
  const { y: where } = recorder.apply(OPS.embedding, { ids: positions, table: weights.positions }, { scale: 1 });
  const { y } = recorder.apply(OPS.add, { a: tokens, b: where }, {});
  recorder.release(tokens, where);
  return y;
}
