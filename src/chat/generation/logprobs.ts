import { rank } from "./sampling.ts";

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
