import { RandloraError } from "../../files/errors.ts";
import type { BatchLogits } from "../../models/decoder/cache/batch-pass.ts";
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

/** A token with the natural logarithm of its probability. */
export interface TokenLogprob {
  readonly id: number;
  readonly logprob: number;
}

/** A token that was written, with the best ones that might have stood in its place. */
export interface WrittenLogprob extends TokenLogprob {
  /** Best first. */
  readonly top: readonly TokenLogprob[];
}

/**
 * Logarithms of the probabilities that the model itself gives, before penalties, temperature and cuts, as OpenAI's API
 * and vLLM report them: log softmax over the whole vocabulary, summed in f64.
 * @param logits of every token
 * @param token the one that was written
 * @param count best tokens to name
 */
export function logprobsOf(logits: Float32Array, token: number, count: number): WrittenLogprob {
  let most = -Infinity;
  for (const logit of logits) if (logit > most) most = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  const total = most + Math.log(sum);
  const of = (id: number): TokenLogprob => ({ id, logprob: (logits[id] ?? -Infinity) - total });
  return { ...of(token), top: count === 0 ? [] : rank(logits, count).ids.map(of) };
}

/** Changes what a sequence may go on with, before a token is chosen: biases, or what a grammar allows. */
export interface LogitFilter {
  /** Finds out what `apply` needs beside logits, where that may take long; other work has its turn meanwhile. It never rejects. */
  prepare?(left: number): Promise<void>;
  /**
   * Changes the logits in place; −Infinity rules a token out.
   * @param left tokens that may still be made, this one counted
   * @throws RandloraError where nothing is left to choose from
   */
  apply(logits: Float32Array, left: number): void;
  /** Told of the token that was chosen. @returns whether the text ends with it */
  push(token: number): boolean;
}

/** Adds a number to the logits of some tokens: OpenAI's `logit_bias`. @param biases by token */
export function logitBias(biases: ReadonlyMap<number, number>): LogitFilter {
  return {
    apply(logits) {
      for (const [id, bias] of biases) {
        const logit = logits[id];
        if (logit !== undefined) logits[id] = logit + bias;
      }
    },
    push: () => false,
  };
}

/** Several filters, one after another. @returns undefined for none */
export function inTurn(filters: readonly LogitFilter[]): LogitFilter | undefined {
  if (filters.length === 0) return undefined;
  return {
    prepare: async (left) => {
      for (const filter of filters) await filter.prepare?.(left);
    },
    apply: (logits, left) => {
      for (const filter of filters) filter.apply(logits, left);
    },
    // All are told, whatever the first ones say.
    push: (token) => filters.map((filter) => filter.push(token)).some(Boolean),
  };
}
