import type { BatchLogits } from "../../models/decoder/cache/batch-pass.ts";
import type { PromptLogits } from "../../models/decoder/prompt-scores.ts";
import { Mt19937 } from "../../compute/random/mt19937.ts";
import { candidatesWanted, distributionOf, type LogitFilter, logprobsOf } from "./next-token.ts";
import { checkSampling, pick, type SamplingOptions } from "./sampling.ts";
import { type TextOptions, TextSequence, type Wants } from "./sequence.ts";

export interface SampledOptions extends TextOptions {
  readonly sampling: SamplingOptions;
  readonly filter?: LogitFilter | undefined;
  /** At the context's end, go on with its newer half instead of ending. */
  readonly shift?: boolean | undefined;
  /** Tokens at the beginning that stay when older ones are forgotten. */
  readonly keep?: number | undefined;
  /** Name this many of the best tokens with each one; 0: only the token itself. */
  readonly topLogprobs?: number | undefined;
}

/** A sequence that is sampled token by token, or decoded greedily. */
export class SampledSequence extends TextSequence<SampledOptions> {
  readonly wants: Wants;
  readonly #random: Mt19937;
  readonly #bits = new Uint32Array(1);
  #tokens: number[];
  #made = 0;

  /** @throws RandloraError `usage` for sampling options that make no sense */
  constructor(options: SampledOptions) {
    const { prompt, sampling, filter, topLogprobs } = options;
    const top = candidatesWanted(checkSampling(sampling));
    super(options);
    this.#random = new Mt19937(BigInt(sampling.seed));
    this.#tokens = [...prompt];
    const needsAll = top === undefined || filter !== undefined;
    this.wants = { top: needsAll ? 0 : top, all: needsAll || topLogprobs !== undefined, lse: false };
  }

  get known(): number {
    return this.#tokens.length;
  }

  tokenAt(_beam: number, position: number): number {
    return this.#tokens[position] ?? NaN;
  }

  override prompted(cached: number, logits: readonly PromptLogits[]): boolean {
    super.prompted(cached, logits);
    if (this.options.maxTokens > 0) return false;
    this.out.end({ reason: "length", stop: undefined });
    return true;
  }

  override async prepare(): Promise<void> {
    await this.options.filter?.prepare?.(this.#left);
  }

  take([row]: readonly BatchLogits[]): readonly number[] | "anew" | undefined {
    if (row === undefined) throw new RangeError("no logits");
    const { sampling, filter, stopTokens, topLogprobs, maxTokens, context, shift } = this.options;
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
    if (this.#made < maxTokens && !isFull) return [0];
    return void this.out.end({ reason: "length", stop: undefined });
  }

  /** Tokens that may still be made. */
  get #left(): number {
    const { maxTokens, context } = this.options;
    return Math.min(maxTokens - this.#made, context - this.#tokens.length);
  }

  /** Keys are stored turned by their positions: what is kept moves, so it is computed anew. */
  #shift(): "anew" {
    const { keep = 0, context } = this.options;
    this.#tokens.splice(keep, this.#tokens.length - Math.ceil(context / 2));
    this.prompt = [...this.#tokens];
    return "anew";
  }
}
