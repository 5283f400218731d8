import { RandloraError } from "../../files/errors.ts";
import type { BatchLogits } from "../../models/decoder/cache/batch-logits.ts";
import {
  type Distribution,
  distribution,
  hasPenalties,
  penalise,
  rank,
  type SamplingOptions,
  wholeDistribution,
} from "./sampling.ts";

/** Candidates that the GPU ranks at most; for more the logits are read back. */
const MAX_GPU_TOP_K = 128;

/** Why a text ended: a stop token, or no room for more (tokens or context). */
export type FinishReason = "stop" | "length";

/** @throws RandloraError `data` for a prompt that is empty or fills the context */
export function checkPrompt(ids: readonly number[], context: number): void {
  if (ids.length === 0) throw new RandloraError("data", "the prompt has no tokens", "say something to go on from");
  if (ids.length < context) return;
  const message = `the prompt has ${ids.length} tokens, and the context ends at ${context}`;
  throw new RandloraError("data", message, "shorten the prompt, or raise --context if the model allows");
}

/** How many of the best tokens decide on the next one; undefined: all of them, or more than a device ranks. */
export function candidatesWanted(sampling: SamplingOptions): number | undefined {
  const wanted = sampling.temperature === 0 ? 1 : sampling.topK;
  return !hasPenalties(sampling) && wanted > 0 && wanted <= MAX_GPU_TOP_K ? wanted : undefined;
}

/**
 * The distribution of the next token.
 * @param from the best tokens, as many as `candidatesWanted`; or all logits, which penalties change
 * @param promptLength how many tokens of the sequence are the prompt's
 * @throws RandloraError `numeric` where any logit is not a number or is infinitely large: it would decide alone
 */
export function distributionOf(
  from: Pick<BatchLogits, "ids" | "logits"> | Float32Array,
  sequence: readonly number[],
  sampling: SamplingOptions,
  promptLength?: number,
): Distribution {
  if (!(from instanceof Float32Array)) {
    checkLogits(from.logits, sequence.length); // what is no number comes first
    return distribution({ ids: [...from.ids], logits: [...from.logits] }, sampling);
  }
  checkLogits(from, sequence.length);
  penalise(from, sequence, sampling, promptLength);
  if (sampling.topK === 0 && sampling.temperature > 0) return wholeDistribution(from, sampling);
  return distribution(rank(from, sampling.temperature === 0 ? 1 : sampling.topK), sampling);
}

/** A kernel that ranks gives NaN and +Infinity as the largest f32, −Infinity as the least; no model means those. */
const LARGEST_LOGIT = 3.4e38;

/** @throws RandloraError `numeric` where one of these is no number, or all are infinitely small */
export function checkLogits(logits: Float32Array, tokens: number): void {
  const areNumbers = logits.every((logit) => logit < LARGEST_LOGIT);
  if (areNumbers && logits.some((logit) => logit > -LARGEST_LOGIT)) return;
  const message = `the model's logits after ${tokens} tokens are not finite`;
  throw new RandloraError("numeric", message, "are its weights, or those of an adapter, damaged?");
}
