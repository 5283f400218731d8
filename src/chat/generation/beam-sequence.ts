import type { BatchLogits } from "../../models/decoder/cache/batch.ts";
import type { AdapterLinears } from "../../models/blocks/linears.ts";
import { BeamSearch, type Hypothesis, type NextBeam } from "./beam-search.ts";
import { checkLogits } from "./next-token.ts";
import { Outbox } from "./outbox.ts";
import { neededBy, type Sequence, type TextOptions, type Wants } from "./sequence.ts";

interface SearchedOptions extends TextOptions {
  readonly beams: number;
}

/** The best sequence that a beam search finds; before its end only that the prompt has been computed is told. */
export class BeamSequence implements Sequence<{ readonly kind: "prompt" }, Hypothesis> {
  readonly prompt: readonly number[];
  readonly beams: number;
  readonly positions: number;
  readonly needed: number;
  readonly wants: Wants;
  readonly signal: AbortSignal | undefined;
  readonly owner: string;
  readonly adapter: AdapterLinears | undefined;
  readonly promptTop = undefined;
  readonly out = new Outbox<{ readonly kind: "prompt" }, Hypothesis>();
  readonly #search: BeamSearch;
  #made = 0;

  constructor(options: SearchedOptions) {
    const { prompt, beams, maxTokens, stopTokens, context, signal, owner = "", adapter } = options;
    this.needed = neededBy(options);
    this.prompt = prompt;
    this.beams = beams;
    this.signal = signal;
    this.owner = owner;
    this.adapter = adapter;
    this.positions = Math.min(prompt.length + maxTokens, context);
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

  prompted(): boolean {
    if (this.#made === 0) this.out.push({ kind: "prompt" });
    return false;
  }

  take(rows: readonly BatchLogits[]): readonly NextBeam[] | undefined {
    const length = this.prompt.length + this.#made++;
    const followers = rows.map(({ ids, logits, lse = NaN }) => {
      checkLogits(logits, length);
      return Array.from(ids.subarray(0, this.wants.top), (id, at) => ({ id, logprob: (logits[at] ?? NaN) - lse }));
    });
    const next = this.#search.step(followers);
    if (next === undefined) this.out.end(this.#search.best);
    return next;
  }
}
