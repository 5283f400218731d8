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
}

export interface PerplexityOptions {
  /** Tokens of a window. */
  readonly context: number;
  /** What the tokenizer begins a text with: every window begins with it. */
  readonly beginning?: number | undefined;
  /** Told the number of tokens after each window. */
  readonly onTokens?: (tokens: number) => void;
  readonly signal?: AbortSignal;
  /** That share the windows; this one alone by default. */
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
 * The perplexity of a tokenized text: in each window every token but the first is predicted from those before it; the
 * mean is over all predicted tokens.
 * @throws RandloraError `data` for a text too short; `model` for ids beyond the vocabulary; `numeric` when it overflows
 */
export async function perplexity(
  decoder: Decoder,
  ids: readonly number[],
  { context, beginning, onTokens, signal, processes = ALONE }: PerplexityOptions,
): Promise<Perplexity> {
  const all = windows(ids, context, beginning);
  if (all.length === 0) {
    throw new RandloraError("data", `the text has ${ids.length} tokens: nothing to predict`, "give a longer text");
  }
  // Added in their order, whoever worked them out.
  const likelihoods = await gatherComputed(processes, async () => {
    const own: number[] = [];
    for (const window of all.slice(...ownRange(processes, all.length))) {
      using cache = decoder.createCache();
      const values = await decoder.nll(cache, window, signal === undefined ? {} : { signal });
      for (const value of values) own.push(value);
      onTokens?.(window.length);
    }
    return own;
  });
  const tokens = likelihoods.length;
  const nll = likelihoods.reduce((sum, value) => sum + value, 0) / tokens;
  if (tokens > 0 && !Number.isFinite(nll)) {
    throw new RandloraError("numeric", "the model's likelihoods are not finite", "are its weights damaged?");
  }
  return { tokens, nll, perplexity: Math.exp(nll) };
}
