import type { BatchLogits, BatchToken } from "../../models/decoder/cache/batch-pass.ts";
import type { AdapterLinears } from "../../models/blocks/linears.ts";
import type { PromptLogits } from "../../models/decoder/prompt-scores.ts";
import type { FinishReason, WrittenLogprob } from "./next-token.ts";

/** What is to be known of the tokens that may follow. */
export type Wants = Omit<BatchToken, "slot" | "id">;

/** What a sequence goes by, whatever comes of it. */
export interface SequenceOptions {
  readonly prompt: readonly number[];
  /** Tokens to make at most. */
  readonly maxTokens: number;
  /** Positions that may be used; the prompt has fewer, or as many where nothing follows. */
  readonly context: number;
  readonly signal?: AbortSignal | undefined;
  /** Whose it is: what was computed for others is computed again, so that nobody can tell. */
  readonly owner?: string | undefined;
  /** What it is computed with beside the weights; undefined: nothing. */
  readonly adapter?: AdapterLinears | undefined;
  /** Of how many of the best tokens in the place of each of the prompt's it is to be told; undefined: of nothing. */
  readonly promptTop?: number | undefined;
}

/** A sequence that a loop decodes, in one slot or in a slot for each beam. `T` is what comes of it, `R` its end. */
export abstract class Sequence<T = unknown, R = unknown, O extends SequenceOptions = SequenceOptions> {
  readonly options: O;
  /** Slots that it takes. */
  readonly beams: number;
  /** What is computed before its first token; where it starts anew, another one. */
  prompt: readonly number[];
  readonly out = new Outbox<T, R>();

  constructor(options: O, beams = 1) {
    this.options = options;
    this.beams = beams;
    this.prompt = options.prompt;
  }

  /** Positions that it may come to need in each slot. */
  get positions(): number {
    const { prompt, maxTokens, context } = this.options;
    return Math.min(prompt.length + maxTokens, context);
  }

  /** Positions without which it need not begin: the prompt's, and of as many tokens as were asked for; of one where that was not said. */
  get needed(): number {
    return this.options.maxTokens === Infinity ? this.options.prompt.length + 1 : this.positions;
  }

  /** Tokens of each beam that are known: the prompt, and what was made. */
  abstract readonly known: number;
  abstract readonly wants: Wants;
  abstract tokenAt(beam: number, position: number): number;

  /**
   * Takes the hidden states of the prompt's tokens from one on, (tokens, hidden), again where what was computed had to be given up. A
   * sequence with this one has all of its prompt computed by passes over prompts, and decodes nothing.
   */
  takeHidden?(first: number, states: Float32Array): void;

  /**
   * Told when the prompt has been computed, again where what was computed had to be given up.
   * @param cached how many of its tokens were computed before
   * @param logits what may follow on each of the prompt's tokens, where `promptTop` is given
   * @returns whether that was all
   */
  abstract prompted(cached: number, logits: readonly PromptLogits[]): boolean;

  /** Finds out what `take` needs beside logits, while the device computes them. */
  prepare?(): Promise<void>;

  /**
   * Takes what follows on each of its beams, after the prompt on all of them alike.
   * @returns of each beam the number of the one that it goes on from; "anew": it starts anew with another prompt; undefined: it has come to its end
   * @throws whatever ends this sequence, but not the others
   */
  abstract take(rows: readonly BatchLogits[]): readonly number[] | "anew" | undefined;
}

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

/** Items that may wait to be taken; whoever makes more is held up. */
const MOST_WAITING = 32;

/** What comes of a request, on its way from the loop that makes it to the one who takes it. */
export class Outbox<T, R> {
  readonly #items: T[] = [];
  #end: { readonly result: R } | { readonly reason: unknown } | undefined;
  #isLeft = false;

  /** So much waits to be taken that no more should be made. */
  get isFull(): boolean {
    return this.#items.length >= MOST_WAITING;
  }

  /** No more is wanted: nobody takes what comes, or the end has been said. */
  get isClosed(): boolean {
    return this.#isLeft || this.#end !== undefined;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Nothing more comes. */
  end(result: R): void {
    this.#end ??= { result };
  }

  /** Nothing more comes, and this is why; what waits is still handed out. */
  fail(reason: unknown): void {
    this.#end ??= { reason };
  }

  /**
   * Hands out what comes, once. Leaving it tells the maker that no more is wanted.
   * @param make makes more, of this or of others
   * @param onRoom told when there is room for another item
   * @throws what `fail` was given
   */
  async *taken(make: () => Promise<void>, onRoom?: () => void): AsyncGenerator<T, R> {
    try {
      for (;;) {
        const item = this.#items.shift();
        if (item !== undefined) {
          onRoom?.();
          yield item;
        } else if (this.#end === undefined) await make();
        else if ("result" in this.#end) return this.#end.result;
        else throw this.#end.reason;
      }
    } finally {
      this.#isLeft = true;
    }
  }
}

/** Takes all of it. @returns what it ended with */
export async function endOf<T, R>(items: AsyncGenerator<T, R>, onItem?: (item: T) => void): Promise<R> {
  for (;;) {
    const { done, value } = await items.next();
    if (done === true) return value;
    onItem?.(value);
  }
}
