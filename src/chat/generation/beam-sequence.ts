import type { BatchLogits } from "../../models/decoder/cache/batch-logits.ts";
import { BeamSearch } from "./beam-search.ts";
import { checkLogits } from "./next-token.ts";
import { type TextOptions, TextSequence, type Wants } from "./sequence.ts";

interface SearchedOptions extends TextOptions {
  readonly beams: number;
}

/** The best sequence that a beam search finds: its tokens come when the search is over. */
export class BeamSequence extends TextSequence<SearchedOptions> {
  readonly wants: Wants;
  readonly #search: BeamSearch;
  #made = 0;

  constructor(options: SearchedOptions) {
    const { prompt, beams, stopTokens } = options;
    super(options, beams);
    this.#search = new BeamSearch({ beams, maxTokens: this.positions - prompt.length, stopTokens });
    this.wants = { top: this.#search.width, all: false, lse: true };
  }

  get known(): number {
    return this.prompt.length + this.#made;
  }

  tokenAt(beam: number, position: number): number {
    const { prompt } = this;
    return prompt[position] ?? this.#search.tokensOf(beam)[position - prompt.length] ?? NaN;
  }

  take(rows: readonly BatchLogits[]): readonly number[] | undefined {
    const length = this.prompt.length + this.#made++;
    const followers = rows.map(({ ids, logits, lse = NaN }) => {
      checkLogits(logits, length);
      return Array.from(ids.subarray(0, this.wants.top), (id, at) => ({ id, logprob: (logits[at] ?? NaN) - lse }));
    });
    const next = this.#search.step(followers);
    if (next !== undefined) return next;
    const { tokens, stopped, score } = this.#search.best;
    for (const id of tokens) this.out.push({ kind: "token", id, logprobs: undefined });
    this.out.end({ reason: stopped ? "stop" : "length", stop: undefined, score });
    return undefined;
  }
}
