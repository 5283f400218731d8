import type { Decoder } from "../../models/decoder/decoder.ts";
import { Running, type RunningOptions } from "./running.ts";
import type { Sequence } from "./sequence.ts";

export interface DecodeLoopOptions extends Omit<RunningOptions, "onReady"> {
  /** Who begins next, asked while there are rows; beside those that are written by `write`. */
  readonly feed?: (() => Promise<Sequence | undefined>) | undefined;
}

/** How far a sequence has come, in tokens. */
export interface Progress {
  /** Of the sequence: how many had begun before, one that waited for another turn again. */
  readonly number: number;
  /** Of its prompt, and of those as many as are in the KV cache. */
  readonly prompt: number;
  readonly computed: number;
  readonly written: number;
  /** That may follow at most. */
  readonly left: number;
}

/**
 * Continuous batching: each turn computes a piece of one prompt, of which each has its turn, and one token of every sequence whose prompt
 * is in the KV cache, in one pass where the device can. A sequence of which nobody takes what comes waits, and so does one that has
 * made many tokens, where others wait.
 */
export class DecodeLoop implements Disposable {
  readonly #running: Running;
  readonly #feed: DecodeLoopOptions["feed"];
  #turning: Promise<void> | undefined;
  /** Ends the waiting of a turn that can do nothing. */
  #wake: (() => void) | undefined;
  /** Something happened since the turn began that it would wait for. */
  #hasNews = false;

  constructor(decoder: Decoder, options: DecodeLoopOptions) {
    this.#running = new Running(decoder, { ...options, onReady: () => this.#notify() });
    this.#feed = options.feed;
  }

  /** Number of sequences that run, or were taken and wait for their turn. */
  get size(): number {
    return this.#running.line.all.length;
  }

  /**
   * Decodes a sequence beside the others, and hands out what comes of it.
   * @throws RandloraError `memory` where it does not fit; what ends it
   */
  async *write<T, R>(sequence: Sequence<T, R>): AsyncGenerator<T, R> {
    this.#running.line.add(sequence);
    return yield* this.follow(sequence);
  }

  /** Hands out what comes of a sequence that `feed` gave. Whoever waits for something makes the loop go on. */
  async *follow<T, R>({ out, options: { signal } }: Sequence<T, R>): AsyncGenerator<T, R> {
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

  /** Adapters of sequences that run, or were taken and wait for their turn. */
  get adapters(): ReadonlySet<unknown> {
    return new Set(this.#running.line.all.map(({ sequence }) => sequence.options.adapter));
  }

  /** How far those that have rows have come, in the order in which they began. */
  get progress(): readonly Progress[] {
    const running = this.#running.line.running.toSorted((left, right) => left.number - right.number);
    return running.map(({ number, sequence, slots }) => {
      const { prompt, known, positions } = sequence;
      const computed = Math.min(slots[0]?.length ?? 0, prompt.length);
      return { number, prompt: prompt.length, computed, written: known - prompt.length, left: positions - known };
    });
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
    for (const { sequence } of this.#running.line.all) sequence.out.fail(reason);
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
    const { line } = this.#running;
    const before = line.all;
    try {
      this.#drop();
      // Whoever came while the last pass was under way may be in the very next one.
      await this.#beginSome();
      const isBusy = await this.#running.turn();
      if (!isBusy && line.all === before && line.all.length > 0 && !this.#hasNews) {
        // Nobody takes what was made. Where one has begun, was read or has ended, whoever waits for that is told first: the line is another one.
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } catch (thrown) {
      this.#running.failed(thrown);
    }
    this.#drop();
  }

  /** Ends sequences that nobody wants any more; what was computed of them is kept for others. */
  #drop(): void {
    for (const active of this.#running.line.all) {
      const { out, options } = active.sequence;
      if (options.signal?.aborted === true) out.fail(options.signal.reason);
      if (out.isClosed) this.#running.slots.end(active);
    }
  }

  /** Starts sequences while there are rows and positions for them, or others have had their turn. */
  async #beginSome(): Promise<void> {
    while (this.#running.line.isOpen) {
      const next = await this.#running.line.next(this.#feed);
      if (next === undefined) return;
      try {
        if (!(await this.#running.slots.begin(next))) return;
      } catch (thrown) {
        this.#running.slots.fail(next, thrown);
      }
    }
  }
}
