import type { BatchLogits } from "../../models/decoder/cache/batch.ts";
import type { AdapterLinears } from "../../models/blocks/linears.ts";
import type { PromptLogits } from "../../models/decoder/prompt-scores.ts";
import { Mt19937 } from "../../compute/random/mt19937.ts";
import type { NextBeam } from "./beam-search.ts";
import type { LogitFilter } from "./logit-filter.ts";
import { logprobsOf, type WrittenLogprob } from "./logprobs.ts";
import { candidatesWanted, distributionOf, type FinishReason } from "./next-token.ts";
import { Outbox } from "./outbox.ts";
import { checkSampling, pick, type SamplingOptions } from "./sampling.ts";

/** What is to be known of the tokens that may follow; see `BatchToken`. */
export interface Wants {
  readonly top: number;
  readonly all: boolean;
  readonly lse: boolean;
}

/** A sequence that a loop decodes, in one slot or in a slot for each beam. `T` is what comes of it, `R` its end. */
export interface Sequence<T = unknown, R = unknown> {
  /** What is computed before its first token; where it starts anew, another one. */
  readonly prompt: readonly number[];
  /** Slots that it takes. */
  readonly beams: number;
  /** Positions that it may come to need in each. */
  readonly positions: number;
  /** Positions without which it need not begin: the prompt's, and of as many tokens as were asked for. */
  readonly needed: number;
  /** Tokens of each beam that are known: the prompt, and what was made. */
  readonly known: number;
  tokenAt(beam: number, position: number): number;
  readonly wants: Wants;
  readonly signal: AbortSignal | undefined;
  /** Whose it is: what was computed for others is computed again, so that nobody can tell. */
  readonly owner: string;
  /** What it is computed with beside the weights; undefined: nothing. */
  readonly adapter: AdapterLinears | undefined;
  /** Of how many of the best tokens in the place of each of the prompt's it is to be told; undefined: of nothing. */
  readonly promptTop: number | undefined;
  /**
   * Takes the hidden states of the prompt's tokens from one on, (tokens, hidden), again where what was computed had to be given up. A
   * sequence with this one has all of its prompt computed by passes over prompts, and decodes nothing.
   */
  readonly takeHidden?: ((first: number, states: Float32Array) => void) | undefined;
  readonly out: Outbox<T, R>;
  /**
   * Told when the prompt has been computed, again where what was computed had to be given up.
   * @param cached how many of its tokens were computed before
   * @param logits what may follow on each of the prompt's tokens, where `promptTop` is given
   * @returns whether that was all
   */
  prompted(cached: number, logits: readonly PromptLogits[]): boolean;
  /** Finds out what `take` needs beside logits, while the device computes them. */
  prepare?(): Promise<void>;
  /**
   * Takes what follows on each of its beams, after the prompt on all of them alike.
   * @returns the tokens to go on with, by beam; "anew": it starts anew with another prompt; undefined: it has come to its end
   * @throws whatever ends this sequence, but not the others
   */
  take(rows: readonly BatchLogits[]): readonly NextBeam[] | "anew" | undefined;
}

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
}

export interface SampledOptions extends TextOptions {
  readonly sampling: SamplingOptions;
  readonly filter?: LogitFilter | undefined;
  /** At the context's end, go on with its newer half instead of ending. */
  readonly shift?: boolean | undefined;
  /** Tokens at the beginning that stay when older ones are forgotten. */
  readonly keep?: number | undefined;
  /** Name this many of the best tokens with each one. */
  readonly topLogprobs?: number | undefined;
  /** See `Sequence`. */
  readonly promptTop?: number | undefined;
}

/** What comes of a sampled sequence: first its prompt, then token by token. */
export type Sampled =
  | { readonly kind: "prompt"; readonly cached: number; readonly logits: readonly PromptLogits[] }
  | { readonly kind: "token"; readonly id: number; readonly logprobs: WrittenLogprob | undefined };

/** How a sampled sequence ended. */
export interface SampledEnd {
  readonly reason: FinishReason;
  /** The stop token that was met, where `topLogprobs` is given. */
  readonly stop: WrittenLogprob | undefined;
}

/** A sequence that is sampled token by token, or decoded greedily. */
export class SampledSequence implements Sequence<Sampled, SampledEnd> {
  readonly beams = 1;
  readonly positions: number;
  readonly needed: number;
  readonly wants: Wants;
  readonly out = new Outbox<Sampled, SampledEnd>();
  readonly signal: AbortSignal | undefined;
  readonly owner: string;
  readonly adapter: AdapterLinears | undefined;
  readonly promptTop: number | undefined;
  /** When it was made, which is when its turn came: milliseconds as `performance.now` counts them. */
  readonly began = performance.now();
  readonly #options: SampledOptions;
  readonly #random: Mt19937;
  readonly #bits = new Uint32Array(1);
  #prompt: readonly number[];
  #tokens: number[];
  #made = 0;
  #isPrompted = false;

  /** @throws RandloraError `usage` for sampling options that make no sense */
  constructor(options: SampledOptions) {
    const { prompt, sampling, filter, maxTokens, context, topLogprobs } = options;
    const top = candidatesWanted(checkSampling(sampling));
    this.#options = options;
    this.signal = options.signal;
    this.owner = options.owner ?? "";
    this.adapter = options.adapter;
    this.promptTop = options.promptTop;
    this.#random = new Mt19937(BigInt(sampling.seed));
    this.#prompt = prompt;
    this.#tokens = [...prompt];
    this.positions = Math.min(prompt.length + maxTokens, context);
    this.needed = neededBy(options);
    const needsAll = top === undefined || filter !== undefined;
    this.wants = { top: needsAll ? 0 : top, all: needsAll || topLogprobs !== undefined, lse: false };
  }

  get prompt(): readonly number[] {
    return this.#prompt;
  }

  get known(): number {
    return this.#tokens.length;
  }

  tokenAt(_beam: number, position: number): number {
    return this.#tokens[position] ?? NaN;
  }

  prompted(cached: number, logits: readonly PromptLogits[]): boolean {
    if (!this.#isPrompted) this.out.push({ kind: "prompt", cached, logits });
    this.#isPrompted = true;
    if (this.#options.maxTokens > 0) return false;
    this.out.end({ reason: "length", stop: undefined });
    return true;
  }

  async prepare(): Promise<void> {
    await this.#options.filter?.prepare?.(this.#left);
  }

  take([row]: readonly BatchLogits[]): readonly NextBeam[] | "anew" | undefined {
    if (row === undefined) throw new RangeError("no logits");
    const { sampling, filter, stopTokens, topLogprobs, maxTokens, context, shift } = this.#options;
    this.#random.draw(this.#bits);
    const top = { ids: row.ids.subarray(0, this.wants.top), logits: row.logits.subarray(0, this.wants.top) };
    const from = this.wants.top === 0 ? (row.all?.slice() ?? top) : top;
    if (from instanceof Float32Array) filter?.apply(from, this.#left);
    const next = distributionOf(from, this.#tokens, sampling, this.#tokens.length - this.#made);
    const id = pick(next, (this.#bits[0] ?? 0) / 2 ** 32);
    const logprobs =
      topLogprobs === undefined || row.all === undefined ? undefined : logprobsOf(row.all, id, topLogprobs);
    if (stopTokens.has(id)) return void this.out.end({ reason: "stop", stop: logprobs });
    this.out.push({ kind: "token", id, logprobs });
    this.#tokens.push(id);
    this.#made += 1;
    if (filter?.push(id) === true) return void this.out.end({ reason: "stop", stop: undefined });
    const isFull = this.#tokens.length >= context;
    if (this.#made < maxTokens && isFull && shift === true) return this.#shift();
    if (this.#made < maxTokens && !isFull) return [{ parent: 0, id }];
    return void this.out.end({ reason: "length", stop: undefined });
  }

  /** Tokens that may still be made. */
  get #left(): number {
    const { maxTokens, context } = this.#options;
    return Math.min(maxTokens - this.#made, context - this.#tokens.length);
  }

  /** Keys are stored turned by their positions: what is kept moves, so it is computed anew. */
  #shift(): "anew" {
    const { keep = 0, context } = this.#options;
    this.#tokens.splice(keep, this.#tokens.length - Math.ceil(context / 2));
    this.#prompt = [...this.#tokens];
    return "anew";
  }
}

/** Positions without which a text need not begin: see `Sequence`; where no number of tokens was asked for, of one. */
export function neededBy({ prompt, maxTokens, context }: TextOptions): number {
  return Math.min(prompt.length + (maxTokens === Infinity ? 1 : maxTokens), context);
}
