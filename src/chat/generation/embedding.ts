import type { Decoder } from "../../models/decoder/decoder.ts";
import { checkPrompt } from "./next-token.ts";
import { RandloraError } from "../../files/errors.ts";
import { Sequence, type SequenceOptions } from "./sequence.ts";

/** Which hidden states an embedding is of: the mean of all tokens', or the last token's. */
export const POOLINGS = ["mean", "last"] as const;
export type Pooling = (typeof POOLINGS)[number];

export interface EmbeddingOptions extends Pick<SequenceOptions, "context" | "signal" | "owner" | "adapter"> {
  readonly pooling: Pooling;
}

/** A prompt without an answer: its embedding is made of the model's hidden states after the last norm. */
export class EmbeddingSequence extends Sequence<never, Float64Array> {
  readonly wants = { top: 0, all: false, lse: false };
  readonly known: number;
  readonly #pooling: Pooling;
  #sum: Float64Array;
  /** Tokens in the sum. */
  #summed = 0;

  /**
   * @throws RandloraError `data` for a text that is empty or fills the context, `model` for ids that the model does not have
   */
  constructor(decoder: Decoder, prompt: readonly number[], { pooling, ...options }: EmbeddingOptions) {
    checkPrompt(prompt, options.context);
    decoder.checkIds(prompt);
    super({ ...options, prompt, maxTokens: 0 });
    this.known = prompt.length;
    this.#pooling = pooling;
    this.#sum = new Float64Array(decoder.config.hiddenSize);
  }

  tokenAt(_beam: number, position: number): number {
    return this.prompt[position] ?? NaN;
  }

  /** Sums go row by row in f64: how the text was cut into pieces does not show, nor which tokens came again. */
  override takeHidden(first: number, states: Float32Array): void {
    const size = this.#sum.length;
    if (this.#pooling === "last") this.#sum = Float64Array.from(states.subarray(states.length - size));
    else
      for (let at = (this.#summed - first) * size; at < states.length; at++)
        this.#sum[at % size] = (this.#sum[at % size] ?? 0) + (states[at] ?? NaN);
    this.#summed = Math.max(this.#summed, first + states.length / size);
  }

  prompted(): boolean {
    this.out.end(this.#pooling === "last" ? this.#sum : this.#sum.map((sum) => sum / this.prompt.length));
    return true;
  }

  take(): never {
    throw new RangeError("a prompt without an answer has no next token");
  }
}

/** A vector of norm 1. @throws RandloraError `numeric` where it has no direction */
export function normalized(vector: Float64Array): Float64Array {
  const norm = Math.hypot(...vector);
  if (norm > 0 && norm < Infinity) return vector.map((value) => value / norm);
  throw new RandloraError(
    "numeric",
    `the hidden states of a text have the norm ${norm}`,
    "the model's weights, or an adapter's, are not what they should be",
  );
}
