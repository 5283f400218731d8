import type { PromptLogits } from "../../models/decoder/prompt-scores.ts";
import type { WrittenLogprob } from "./logprobs.ts";
import type { FinishReason } from "./next-token.ts";
import { Sequence, type SequenceOptions } from "./sequence.ts";

/** What a text goes by, however its tokens are chosen. */
export interface TextOptions extends SequenceOptions {
  readonly stopTokens: ReadonlySet<number>;
}

/** What comes of a text: first its prompt, then token by token; all tokens at once where the text is searched for. */
export type TextItem =
  | { readonly kind: "prompt"; readonly cached: number; readonly logits: readonly PromptLogits[] }
  | { readonly kind: "token"; readonly id: number; readonly logprobs: WrittenLogprob | undefined };

/** How a text ended. */
export interface TextEnd {
  readonly reason: FinishReason;
  /** Of a beam search: see `Hypothesis`. */
  readonly score?: number;
  /** The stop token that was met, where `topLogprobs` is given. */
  readonly stop: WrittenLogprob | undefined;
}

/** A text under way, however its tokens are chosen. */
export abstract class TextSequence<O extends TextOptions> extends Sequence<TextItem, TextEnd, O> {
  /** When it was made, which is when its turn came: milliseconds as `performance.now` counts them. */
  readonly began = performance.now();
  #isPrompted = false;

  prompted(cached: number, logits: readonly PromptLogits[]): boolean {
    if (!this.#isPrompted) this.out.push({ kind: "prompt", cached, logits });
    this.#isPrompted = true;
    return false;
  }
}
