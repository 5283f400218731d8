import { RandloraError } from "../../files/errors.ts";
import { ALONE, gatherComputed, ownRange, type Processes } from "../../mpi/processes.ts";
import type { DecoderConfig } from "../../models/decoder/config.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";

/** How well a model predicts a text. */
export interface Perplexity {
  /** Predicted tokens. */
  readonly tokens: number;
  /** Mean negative log-likelihood of them, in nats. */
  readonly nll: number;
  /** exp(nll). */
  readonly perplexity: number;
  /** Of each text the sum over its predicted tokens, and how many they are. */
  readonly sums: readonly { readonly nll: number; readonly tokens: number }[];
}

export interface PerplexityOptions {
  /** Told the number of tokens after each text. */
  readonly onTokens?: (tokens: number) => void;
  readonly signal?: AbortSignal;
  /** That share the texts; this one alone by default. */
  readonly processes?: Processes | undefined;
}

/** Tokens of a window where nothing is said: 1024, or the model's context when it is smaller. */
const DEFAULT_CONTEXT = 1024;

/**
 * The size of the windows.
 * @param asked what the user wants; may exceed the model's context where RoPE is scaled
 * @throws RandloraError `usage` when the model cannot look so far
 */
export function windowSize(config: DecoderConfig, asked: number | undefined): number {
  const { contextLength, ropes } = config;
  const size = asked ?? Math.min(DEFAULT_CONTEXT, contextLength);
  if (size < 2) throw new RandloraError("usage", `--context ${size}: a window has at least 2 tokens`);
  if (size > contextLength && ropes.every(({ scaling: { kind } }) => kind === "default" || kind === "none")) {
    const hint = `choose at most ${contextLength}`;
    throw new RandloraError("usage", `--context ${size}: the model's context is ${contextLength} tokens`, hint);
  }
  return size;
}

/**
 * Consecutive windows without overlap; a last one of a single token predicts nothing and is left out. A window's first token
 * is not predicted, and so gives its place to what the tokenizer begins texts with, as in llama.cpp's perplexity: models
 * that have never seen a text without it (Gemma) predict nothing sensible otherwise.
 */
export function windows(ids: readonly number[], size: number, beginning?: number): number[][] {
  const cut: number[][] = [];
  for (let first = 0; first < ids.length - 1; first += size) {
    const window = ids.slice(first, first + size);
    if (first > 0 && beginning !== undefined) window[0] = beginning;
    cut.push(window);
  }
  return cut;
}

/**
 * How well a model predicts texts, each by itself: in each every token but the first from those before it; the mean is over all predicted
 * tokens.
 * @throws RandloraError `data` for texts too short; `model` for ids beyond the vocabulary; `numeric` when it overflows
 */
export async function perplexity(
  decoder: Decoder,
  texts: readonly (readonly number[])[],
  { onTokens, signal, processes = ALONE }: PerplexityOptions = {},
): Promise<Perplexity> {
  if (texts.every(({ length }) => length < 2)) {
    throw new RandloraError("data", "the text has no two tokens: nothing to predict", "give a longer text");
  }
  // Added in their order, whoever worked them out.
  const likelihoods = await gatherComputed(processes, async () => {
    const own: number[] = [];
    for (const ids of texts.slice(...ownRange(processes, texts.length))) {
      using cache = decoder.createCache();
      const values = await decoder.nll(cache, ids, signal === undefined ? {} : { signal });
      for (const value of values) own.push(value);
      onTokens?.(ids.length);
    }
    return own;
  });
  const tokens = likelihoods.length;
  const nll = sum(likelihoods) / tokens;
  if (tokens > 0 && !Number.isFinite(nll)) {
    throw new RandloraError("numeric", "the model's likelihoods are not finite", "are its weights damaged?");
  }
  let at = 0;
  const sums = texts.map(({ length }) => {
    const predicted = Math.max(0, length - 1);
    return { nll: sum(likelihoods.slice(at, (at += predicted))), tokens: predicted };
  });
  return { tokens, nll, perplexity: Math.exp(nll), sums };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
