import type { Decoder } from "../../models/decoder/decoder.ts";
import { Running, type RunningOptions } from "./running.ts";
import type { Sequence } from "./sequence.ts";

export interface DecodeLoopOptions extends RunningOptions {
  /** Whole prompts of all before the next token of any: nobody watches. */
  readonly promptsFirst?: boolean | undefined;
  /** Who begins next, asked while there are rows; beside those that are written by `write`. */
  readonly feed?: (() => Promise<Sequence | undefined>) | undefined;
}

/**
 * Continuous batching: each turn computes a piece of one prompt, of which each has its turn, and decodes one token of every sequence
 * whose prompt is in the KV cache. A sequence of which nobody takes what comes waits.
 */
export class DecodeLoop implements Disposable {
  readonly #running: Running;
  readonly #options: DecodeLoopOptions;
  /** Sequences that have not begun, or gave way; the next one first. */
  #waiting: Sequence[] = [];
  #turning: Promise<void> | undefined;
  #aborted: { readonly reason: unknown } | undefined;
  /** Ends the waiting of a turn that can do nothing. */
  #wake: (() => void) | undefined;
  /** Something happened since the turn began that it would wait for. */
  #hasNews = false;

  constructor(decoder: Decoder, options: DecodeLoopOptions) {
    this.#running = new Running(decoder, options);
    this.#options = options;
  }

  /** Number of sequences that run, or were taken and wait for room. */
  get size(): number {
    return this.#running.all.length + this.#waiting.length;
  }

  /**
   * Decodes a sequence beside the others, and hands out what comes of it.
   * @throws RandloraError `memory` where it does not fit; what ends it
   */
  async *write<T, R>(sequence: Sequence<T, R>): AsyncGenerator<T, R> {
    this.#waiting.push(sequence);
    return yield* this.follow(sequence);
  }

  /** Hands out what comes of a sequence that `feed` gave. Whoever waits for something makes the loop go on. */
  async *follow<T, R>({ out, signal }: Sequence<T, R>): AsyncGenerator<T, R> {
    // Whoever takes nothing may be told to leave: others must not wait until he does.
    const leave = (): void => this.drop();
    signal?.addEventListener("abort", leave, { once: true });
    try {
      return yield* out.taken(
        () => this.advance(),
        () => this.#notify(),
      );
    } finally {
      signal?.removeEventListener("abort", leave);
      this.drop();
    }
  }

  /** Adapters of sequences that run, or were taken and wait for room. */
  get adapters(): ReadonlySet<unknown> {
    const sequences = [...this.#running.all.map(({ sequence }) => sequence), ...this.#waiting];
    return new Set(sequences.map(({ adapter }) => adapter));
  }

  /** A turn of all sequences; whoever asks for one while it is under way waits for its end. */
  advance(): Promise<void> {
    return (this.#turning ??= this.#turn().finally(() => (this.#turning = undefined)));
  }

  /** Ends sequences that nobody wants any more, when the turn that is under way has ended. */
  drop(): void {
    this.#notify();
    if (this.#turning === undefined) this.#drop();
  }

  /** Says that the model's weights have changed: KV caches of the old ones are dropped. No sequence may be running. */
  weightsChanged(): void {
    this.drop();
    this.#running.weightsChanged();
  }

  /** Ends all sequences, when the turn that is under way has ended. */
  abort(reason: unknown): void {
    this.#aborted = { reason };
    this.drop();
  }

  [Symbol.dispose](): void {
    this.#running[Symbol.dispose]();
  }

  #notify(): void {
    this.#hasNews = true;
    this.#wake?.();
  }

  async #turn(): Promise<void> {
    this.#hasNews = false;
    this.#drop();
    await this.#beginSome();
    try {
      const prompts = this.#running.all.filter(({ isPrompted }) => !isPrompted);
      await this.#prompt(prompts);
      const ready = this.#running.all.filter(({ isPrompted, sequence }) => isPrompted && !sequence.out.isFull);
      if (ready.length > 0) this.#waiting.unshift(...(await this.#running.step(ready)));
      else if (prompts.length === 0 && this.#running.all.length > 0 && !this.#hasNews) {
        // Nobody takes what was made.
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } catch (thrown) {
      // What a device failed at concerns all that it was to compute.
      for (const active of this.#running.all) this.#running.fail(active, thrown);
    }
    this.#drop();
  }

  async #prompt(prompts: Running["all"]): Promise<void> {
    const [first] = prompts;
    const isWaitedFor = prompts.length < this.#running.all.length;
    if (this.#options.promptsFirst !== true) {
      if (first !== undefined) await this.#running.prompt(first, isWaitedFor);
      return;
    }
    for (const active of prompts) while (!active.isPrompted) await this.#running.prompt(active, false);
  }

  /** Ends sequences that nobody wants any more; what was computed of them is kept for others. */
  #drop(): void {
    if (this.#aborted !== undefined) {
      for (const { out } of this.#waiting.splice(0)) out.fail(this.#aborted.reason);
      for (const active of this.#running.all) this.#running.fail(active, this.#aborted.reason);
      this.#aborted = undefined;
    }
    const isWanted = ({ signal, out }: Sequence): boolean => {
      if (signal?.aborted === true) out.fail(signal.reason);
      return signal?.aborted !== true && !out.isLeft;
    };
    this.#waiting = this.#waiting.filter(isWanted);
    for (const active of this.#running.all) if (!isWanted(active.sequence)) this.#running.end(active);
  }

  /** Starts sequences while there are rows and positions for them, in their order. */
  async #beginSome(): Promise<void> {
    while (this.#running.rowsLeft > 0) {
      const sequence = this.#waiting[0] ?? (await this.#options.feed?.());
      if (sequence === undefined) return;
      if (this.#waiting.length === 0) this.#waiting.push(sequence);
      try {
        const isBegun = await this.#running.begin(sequence);
        if (!isBegun) return;
      } catch (thrown) {
        sequence.out.fail(thrown);
      }
      this.#waiting.shift();
    }
  }
}
