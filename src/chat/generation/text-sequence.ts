import type { BatchLogits } from "../../models/decoder/cache/batch-logits.ts";
import type { AdapterLinears } from "../../models/blocks/linears.ts";
import type { PromptLogits } from "../../models/decoder/prompt-scores.ts";
import type { NextBeam } from "./beam-search.ts";
import type { WrittenLogprob } from "./logprobs.ts";
import type { FinishReason } from "./next-token.ts";
import { Outbox } from "./outbox.ts";
import type { Sequence, Wants } from "./sequence.ts";

/** What a text goes by, however its tokens are chosen. */
export interface TextOptions {
  readonly prompt: readonly number[];
  /** Tokens to make at most. */
  readonly maxTokens: number;
  readonly stopTokens: ReadonlySet<number>;
  /** Positions that may be used; the prompt has fewer. */
  readonly context: number;
  readonly signal?: AbortSignal | undefined;
  /** See `Sequence`; "" where nothing is said. */
  readonly owner?: string | undefined;
  /** See `Sequence`. */
  readonly adapter?: AdapterLinears | undefined;
  /** See `Sequence`. */
  readonly promptTop?: number | undefined;
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

/** A text under way: what its sequence is, however its tokens are chosen. */
export abstract class TextSequence implements Sequence<TextItem, TextEnd> {
  readonly beams: number;
  readonly positions: number;
  readonly needed: number;
  readonly signal: AbortSignal | undefined;
  readonly owner: string;
  readonly adapter: AdapterLinears | undefined;
  readonly promptTop: number | undefined;
  readonly out = new Outbox<TextItem, TextEnd>();
  /** When it was made, which is when its turn came: milliseconds as `performance.now` counts them. */
  readonly began = performance.now();
  #isPrompted = false;

  constructor(options: TextOptions, beams = 1) {
    const { prompt, maxTokens, context, signal, owner = "", adapter, promptTop } = options;
    this.beams = beams;
    this.positions = Math.min(prompt.length + maxTokens, context);
    // Where no number of tokens was asked for, of one.
    this.needed = Math.min(prompt.length + (maxTokens === Infinity ? 1 : maxTokens), context);
    this.signal = signal;
    this.owner = owner;
    this.adapter = adapter;
    this.promptTop = promptTop;
  }

  abstract readonly prompt: readonly number[];
  abstract readonly known: number;
  abstract readonly wants: Wants;
  abstract tokenAt(beam: number, position: number): number;
  abstract take(rows: readonly BatchLogits[]): readonly NextBeam[] | "anew" | undefined;

  prompted(cached: number, logits: readonly PromptLogits[]): boolean {
    if (!this.#isPrompted) this.out.push({ kind: "prompt", cached, logits });
    this.#isPrompted = true;
    return false;
  }
}
