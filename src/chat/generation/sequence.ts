import type { BatchLogits } from "../../models/decoder/cache/batch.ts";
import type { PromptLogits } from "../../models/decoder/prompt-scores.ts";
import { Mt19937 } from "../../compute/random/mt19937.ts";
import { BeamSearch, type Hypothesis, type NextBeam } from "./beam-search.ts";
import { candidatesWanted, checkLogits, distributionOf, type FinishReason } from "./generate.ts";
import { logprobsOf, type WrittenLogprob } from "./logprobs.ts";
import { checkSampling, pick, type SamplingOptions } from "./sampling.ts";

/** What is to be known of the tokens that may follow; see `BatchToken`. */
export interface Wants {
  readonly top: number;
  readonly all: boolean;
  readonly lse: boolean;
}

/** A sequence that is decoded in a batch with others: in one slot, or in a slot for each beam. */
export interface Sequence {
  readonly prompt: readonly number[];
  /** Slots that it takes. */
  readonly beams: number;
  /** Positions that it may come to need in each. */
  readonly positions: number;
  readonly wants: Wants;
  readonly signal: AbortSignal | undefined;
  /** Of how many of the best tokens in the place of each of the prompt's it is to be told; undefined: of nothing. */
  readonly promptTop: number | undefined;
  /** Takes what follows on some of the prompt's tokens, in their order. */
  takePrompt(logits: readonly PromptLogits[]): void;
  /**
   * Told when the prompt has been computed.
   * @param cached how many of its tokens were computed for others
   * @returns whether that was all
   */
  prompted(cached: number): boolean;
  /**
   * Takes what follows on each of its beams, after the prompt on all of them alike.
   * @returns the tokens to go on with, by beam; undefined: it has come to its end
   * @throws whatever ends this sequence, but not the others
   */
  take(rows: readonly BatchLogits[]): readonly NextBeam[] | undefined;
  /** Told once when nothing more will come: the signal's reason, or what failed. */
  fail(reason: unknown): void;
}

export interface SampledOptions {
  readonly prompt: readonly number[];
  readonly sampling: SamplingOptions;
  /** Tokens to make at most. */
  readonly maxTokens: number;
  readonly stopTokens: ReadonlySet<number>;
  /** Positions that may be used; the prompt has fewer. */
  readonly context: number;
  readonly signal?: AbortSignal | undefined;
  /** Name this many of the best tokens with each one. */
  readonly topLogprobs?: number | undefined;
  /** Told of each token before `onToken`, where `topLogprobs` is given. */
  readonly onLogprobs?: ((written: WrittenLogprob) => void) | undefined;
  /** Told of each token. @returns whether the sequence ends with it */
  readonly onToken: (token: number) => boolean;
  /** @param stop the stop token that was met, where `topLogprobs` is given */
  readonly onEnd: (reason: FinishReason, stop?: WrittenLogprob) => void;
  readonly onFail: (reason: unknown) => void;
  /** Told when the prompt has been computed, and how many of its tokens were for others. */
  readonly onPrompted?: ((cached: number) => void) | undefined;
  /** See `Sequence`. */
  readonly promptTop?: number | undefined;
  /** Told what stood in the place of each of the prompt's tokens but the first, in pieces, where `promptTop` is given. */
  readonly onPromptLogits?: ((logits: readonly PromptLogits[]) => void) | undefined;
}

/** A sequence that is sampled token by token, or decoded greedily: the same tokens as `generate` makes of the same seed. */
export class SampledSequence implements Sequence {
  readonly beams = 1;
  readonly positions: number;
  readonly wants: Wants;
  readonly #options: SampledOptions;
  readonly #tokens: number[];
  readonly #random: Mt19937;
  readonly #bits = new Uint32Array(1);
  readonly #most: number;

  /** @throws RandloraError `usage` for sampling options that make no sense */
  constructor(options: SampledOptions) {
    const { prompt, sampling, maxTokens, context, topLogprobs } = options;
    const top = candidatesWanted(checkSampling(sampling));
    this.#options = options;
    this.#random = new Mt19937(BigInt(sampling.seed));
    this.#tokens = [...prompt];
    this.positions = Math.min(prompt.length + maxTokens, context);
    this.#most = this.positions - prompt.length;
    this.wants = { top: top ?? 0, all: top === undefined || topLogprobs !== undefined, lse: false };
  }

  get prompt(): readonly number[] {
    return this.#options.prompt;
  }

  get signal(): AbortSignal | undefined {
    return this.#options.signal;
  }

  get promptTop(): number | undefined {
    return this.#options.promptTop;
  }

  takePrompt(logits: readonly PromptLogits[]): void {
    this.#options.onPromptLogits?.(logits);
  }

  prompted(cached: number): boolean {
    this.#options.onPrompted?.(cached);
    if (this.#most === 0) this.#options.onEnd("length");
    return this.#most === 0;
  }

  take([row]: readonly BatchLogits[]): readonly NextBeam[] | undefined {
    if (row === undefined) throw new RangeError("no logits");
    const { sampling, stopTokens, topLogprobs, onLogprobs, onToken, onEnd } = this.#options;
    this.#random.draw(this.#bits);
    const top = { ids: row.ids.subarray(0, this.wants.top), logits: row.logits.subarray(0, this.wants.top) };
    const next = distributionOf(this.wants.top === 0 ? (row.all?.slice() ?? top) : top, this.#tokens, sampling);
    const id = pick(next, (this.#bits[0] ?? 0) / 2 ** 32);
    const logprobs =
      topLogprobs === undefined || row.all === undefined ? undefined : logprobsOf(row.all, id, topLogprobs);
    if (stopTokens.has(id)) return void onEnd("stop", logprobs);
    if (logprobs !== undefined) onLogprobs?.(logprobs);
    this.#tokens.push(id);
    if (onToken(id)) return void onEnd("stop");
    if (this.#tokens.length - this.prompt.length >= this.#most) return void onEnd("length");
    return [{ parent: 0, id }];
  }

  fail(reason: unknown): void {
    this.#options.onFail(reason);
  }
}

export interface SearchedOptions extends Pick<SampledOptions, "prompt" | "maxTokens" | "stopTokens" | "context"> {
  readonly beams: number;
  readonly signal?: AbortSignal | undefined;
  /** Told when the prompt has been computed. */
  readonly onPrompted?: (() => void) | undefined;
  readonly onEnd: (best: Hypothesis) => void;
  readonly onFail: (reason: unknown) => void;
}

/** The best sequence that a beam search finds. */
export class BeamSequence implements Sequence {
  readonly positions: number;
  readonly wants: Wants;
  readonly promptTop = undefined;
  readonly #options: SearchedOptions;
  readonly #search: BeamSearch;
  #made = 0;

  constructor(options: SearchedOptions) {
    const { prompt, beams, maxTokens, stopTokens, context } = options;
    this.#options = options;
    this.positions = Math.min(prompt.length + maxTokens, context);
    this.#search = new BeamSearch({ beams, maxTokens: this.positions - prompt.length, stopTokens });
    this.wants = { top: this.#search.width, all: false, lse: true };
  }

  get prompt(): readonly number[] {
    return this.#options.prompt;
  }

  get beams(): number {
    return this.#options.beams;
  }

  get signal(): AbortSignal | undefined {
    return this.#options.signal;
  }

  takePrompt(): void {}

  prompted(): boolean {
    this.#options.onPrompted?.();
    return false;
  }

  take(rows: readonly BatchLogits[]): readonly NextBeam[] | undefined {
    const length = this.prompt.length + this.#made++;
    const followers = rows.map(({ ids, logits, lse = NaN }) => {
      checkLogits(logits, length);
      return Array.from(ids.subarray(0, this.wants.top), (id, at) => ({ id, logprob: (logits[at] ?? NaN) - lse }));
    });
    const next = this.#search.step(followers);
    if (next === undefined) this.#options.onEnd(this.#search.best);
    return next;
  }

  fail(reason: unknown): void {
    this.#options.onFail(reason);
  }
}
