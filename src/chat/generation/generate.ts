import { RandloraError } from "../../files/errors.ts";
import type { Decoder, TopTokens } from "../../models/decoder/decoder.ts";
import type { KvCache } from "../../models/decoder/cache/kv-cache.ts";
import { Mt19937 } from "../../compute/random/mt19937.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import {
  checkSampling,
  type Distribution,
  distribution,
  hasPenalties,
  penalise,
  pick,
  rank,
  type SamplingOptions,
} from "./sampling.ts";

/** Candidates that the GPU ranks at most; for more the logits are read back. */
const MAX_GPU_TOP_K = 128;

export interface GenerateOptions {
  readonly sampling: SamplingOptions;
  /** Tokens to make at most. */
  readonly maxTokens: number;
  /** Tokens that end the text; the one that was met is not yielded. */
  readonly stopTokens: ReadonlySet<number>;
  /** Positions that may be used; the model's context where nothing is said. */
  readonly context?: number;
  /** At the context's end, go on with its newer half instead of ending. */
  readonly shift?: boolean;
  /** Tokens at the beginning that stay when older ones are forgotten. */
  readonly keep?: number;
  readonly signal?: AbortSignal;
}

/** Why a text ended: a stop token, or no room for more (tokens or context). */
export type FinishReason = "stop" | "length";

/**
 * Continues a sequence token by token: yields ids, returns why it ended. Leaving the loop ends it at any token.
 * @param cache holds the first `cache.length` of `ids`; afterwards those and every yielded token but the last
 * @param ids the whole sequence so far, at least one token longer than what the cache holds
 * @throws RandloraError `data` for a sequence that is empty or fills the context; `usage` for sampling options that make
 *   no sense; the signal's reason when it is aborted
 */
export async function* generate(
  decoder: Decoder,
  cache: KvCache,
  ids: readonly number[],
  options: GenerateOptions,
): AsyncGenerator<number, FinishReason> {
  const { maxTokens, stopTokens, signal, shift = false, keep = 0, context = decoder.config.contextLength } = options;
  const sampling = checkSampling(options.sampling);
  checkPrompt(ids, context);
  const passes = signal === undefined ? {} : { signal };
  const random = new Mt19937(BigInt(sampling.seed));
  const bits = new Uint32Array(1);
  const sequence = [...ids];
  for (let made = 0; made < maxTokens; made++) {
    if (sequence.length >= context) {
      if (!shift) return "length";
      // Keys are stored turned by their positions: what is kept moves, so it is computed anew.
      sequence.splice(keep, sequence.length - Math.ceil(context / 2));
      cache.truncate(0);
    }
    const hidden = await decoder.prefill(cache, sequence.slice(cache.length), passes);
    let token: number;
    try {
      random.draw(bits);
      const next = await nextTokens(decoder, hidden, sequence, sampling);
      token = pick(next, (bits[0] ?? 0) / 2 ** 32);
    } finally {
      decoder.gpu.memory.release(hidden.buffer);
    }
    signal?.throwIfAborted();
    if (stopTokens.has(token)) return "stop";
    sequence.push(token);
    yield token;
  }
  return "length";
}

/** @throws RandloraError `data` for a prompt that is empty or fills the context */
export function checkPrompt(ids: readonly number[], context: number): void {
  if (ids.length === 0) throw new RandloraError("data", "the prompt has no tokens", "say something to go on from");
  if (ids.length < context) return;
  const message = `the prompt has ${ids.length} tokens, and the context ends at ${context}`;
  throw new RandloraError("data", message, "shorten the prompt, or raise --context if the model allows");
}

/**
 * The distribution of the next token; ranked on the GPU where few candidates are enough.
 * @param hidden the hidden state of the last token
 * @throws as `distributionOf`
 */
async function nextTokens(
  decoder: Decoder,
  hidden: Tensor,
  sequence: readonly number[],
  sampling: SamplingOptions,
): Promise<Distribution> {
  const wanted = candidatesWanted(sampling);
  if (wanted === undefined) return distributionOf(await decoder.logits(hidden), sequence, sampling);
  const top = await decoder.top(hidden, Math.min(wanted, decoder.config.vocabularySize));
  return distributionOf(top, sequence, sampling);
}

/** How many of the best tokens decide on the next one; undefined: all of them, or more than a device ranks. */
export function candidatesWanted(sampling: SamplingOptions): number | undefined {
  const wanted = sampling.temperature === 0 ? 1 : sampling.topK;
  return !hasPenalties(sampling) && wanted > 0 && wanted <= MAX_GPU_TOP_K ? wanted : undefined;
}

/**
 * The distribution of the next token.
 * @param from the best tokens, as many as `candidatesWanted`; or all logits, which penalties change
 * @throws RandloraError `numeric` where any logit is not a number or is infinitely large: it would decide alone
 */
export function distributionOf(
  from: TopTokens | Float32Array,
  sequence: readonly number[],
  sampling: SamplingOptions,
): Distribution {
  if (!(from instanceof Float32Array)) {
    checkLogits(from.logits, sequence.length); // what is no number comes first
    return distribution({ ids: [...from.ids], logits: [...from.logits] }, sampling);
  }
  checkLogits(from, sequence.length);
  penalise(from, sequence, sampling);
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
