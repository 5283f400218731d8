import { RandloraError } from "../../files/errors.ts";
import { Batch, type BatchLogits, PROMPT_BLOCK } from "../../models/decoder/cache/batch.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import type { PromptLogits } from "../../models/decoder/prompt-scores.ts";
import type { Slot } from "../../models/decoder/cache/slot.ts";
import type { NextBeam } from "./beam-search.ts";
import { KeptSlots, type KeptSlotsOptions } from "./kept-slots.ts";
import type { Sequence } from "./sequence.ts";

/** Prompt tokens that a turn prefills on a software GPU: running sequences wait for them. */
const SOFTWARE_BLOCK = 192;
/** KV cache positions reserved behind a prompt, if the sequence may need as many; it gets more when these are filled. */
const SPARE = 256;

export interface DecodeLoopOptions extends KeptSlotsOptions {
  /** Maximum number of rows in a batch: a sequence takes as many as it has beams. */
  readonly rows: number;
  /** KV cache positions of all of them; sequences that may need more wait. */
  readonly positions: number;
  /** Whole prompts of all before the next token of any: nobody watches. */
  readonly promptsFirst?: boolean | undefined;
  /** Who begins next, asked while there are rows; beside those that are written by `write`. */
  readonly feed?: (() => Promise<Sequence | undefined>) | undefined;
}

interface Active {
  readonly sequence: Sequence;
  readonly slots: readonly Slot[];
  /** The token that each beam goes on with; those of the prompt come before. */
  next: readonly number[];
  /** Has all of the prompt but its last token been computed, in all slots? */
  isPrompted: boolean;
  /** Tokens of the prompt that were computed before. */
  cached: number;
  /** What may follow on each of the prompt's tokens, where that is asked for. */
  readonly logits: PromptLogits[];
}

/**
 * Continuous batching: each turn prefills a part of one prompt and decodes one token of every sequence whose prompt is in
 * the KV cache. A sequence that ends frees its slots at once. A sequence of which nobody takes what comes waits.
 */
export class DecodeLoop implements Disposable {
  readonly #decoder: Decoder;
  readonly #batch: Batch;
  readonly #kept: KeptSlots;
  readonly #options: DecodeLoopOptions;
  /** Sequences that have not begun, the next one first. */
  #waiting: Sequence[] = [];
  #active: Active[] = [];
  #turning: Promise<void> | undefined;
  #aborted: { readonly reason: unknown } | undefined;
  /** Ends the waiting of a turn that can do nothing. */
  #wake: (() => void) | undefined;

  constructor(decoder: Decoder, options: DecodeLoopOptions) {
    this.#decoder = decoder;
    this.#options = options;
    this.#batch = new Batch(decoder, options);
    this.#kept = new KeptSlots(decoder, this.#batch.pool, options);
  }

  /** Number of sequences that run, or were taken and wait for room. */
  get size(): number {
    return this.#active.length + this.#waiting.length;
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
  async *follow<T, R>({ out }: Sequence<T, R>): AsyncGenerator<T, R> {
    try {
      return yield* out.taken(
        () => this.advance(),
        () => this.#wake?.(),
      );
    } finally {
      this.drop();
    }
  }

  get #rowsTaken(): number {
    return this.#active.reduce((sum, { slots }) => sum + slots.length, 0);
  }

  /** A turn of all sequences; whoever asks for one while it is under way waits for its end. */
  advance(): Promise<void> {
    return (this.#turning ??= this.#turn().finally(() => (this.#turning = undefined)));
  }

  /** Ends sequences that nobody wants any more, when the turn that is under way has ended. */
  drop(): void {
    this.#wake?.();
    if (this.#turning === undefined) this.#drop();
  }

  /** Says that the model's weights have changed: KV caches of the old ones are dropped. No sequence may be running. */
  weightsChanged(): void {
    this.#drop();
    if (this.#active.length > 0) throw new Error("weights changed while texts were written with them");
    this.#kept.clear();
    this.#batch.weightsChanged();
  }

  /** Ends all sequences, when the turn that is under way has ended. */
  abort(reason: unknown): void {
    this.#aborted = { reason };
    this.drop();
  }

  [Symbol.dispose](): void {
    this.#batch[Symbol.dispose]();
  }

  async #turn(): Promise<void> {
    this.#drop();
    await this.#beginSome();
    try {
      const prompts = this.#active.filter(({ isPrompted }) => !isPrompted);
      for (const active of prompts) {
        await this.#prompt(active);
        if (this.#options.promptsFirst !== true) break;
        while (!active.isPrompted) await this.#prompt(active);
      }
      const ready = this.#active.filter(({ isPrompted, sequence }) => isPrompted && !sequence.out.isFull);
      if (ready.length > 0) await this.#step(ready);
      else if (prompts.length === 0 && this.#active.length > 0) {
        // Nobody takes what was made.
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } catch (thrown) {
      // What a device failed at concerns all that it was to compute.
      for (const active of this.#active) this.#fail(active, thrown);
    }
    this.#drop();
  }

  /** Ends sequences that nobody wants any more; what was computed of them is kept for others. */
  #drop(): void {
    if (this.#aborted !== undefined) {
      for (const { out } of this.#waiting.splice(0)) out.fail(this.#aborted.reason);
      for (const active of this.#active) this.#fail(active, this.#aborted.reason);
      this.#aborted = undefined;
    }
    const isWanted = ({ signal, out }: Sequence): boolean => {
      if (signal?.aborted === true) out.fail(signal.reason);
      return signal?.aborted !== true && !out.isLeft;
    };
    this.#waiting = this.#waiting.filter(isWanted);
    for (const active of this.#active) if (!isWanted(active.sequence)) this.#end(active);
    if (this.#active.length === 0) this.#decoder.gpu.memory.dropUnused();
  }

  /** Starts sequences while there are rows and positions for them, in their order. */
  async #beginSome(): Promise<void> {
    while (this.#rowsTaken < this.#options.rows) {
      const sequence = this.#waiting[0] ?? (await this.#options.feed?.());
      if (sequence === undefined) return;
      if (this.#waiting.length === 0) this.#waiting.push(sequence);
      try {
        const isBegun = await this.#begin(sequence);
        if (!isBegun && this.#active.length > 0) return;
        if (!isBegun) throw tooLarge(sequence);
      } catch (thrown) {
        sequence.out.fail(thrown);
      }
      this.#waiting.shift();
    }
  }

  /** @returns whether there are slots for it */
  async #begin(sequence: Sequence): Promise<boolean> {
    if (this.#rowsTaken + sequence.beams > this.#options.rows) return false;
    const slots = this.#kept.acquire(sequence);
    if (slots === undefined) return false;
    const { prompt } = sequence;
    const next = slots.map(() => prompt.at(-1) ?? 0);
    const active: Active = { sequence, slots, next, isPrompted: false, cached: slots[0]?.length ?? 0, logits: [] };
    this.#active.push(active);
    try {
      const soon = Math.min(sequence.positions, prompt.length + SPARE);
      for (const slot of slots) await this.#batch.pool.reserve(slot, soon);
      // Now: what others have left may have to give way before its turn comes.
      await this.#share(active);
      return true;
    } catch (thrown) {
      this.#end(active, 0);
      throw thrown;
    }
  }

  /** Prefills a part of the prompt; its last token is decoded in the batch. */
  async #prompt(active: Active): Promise<void> {
    const { sequence, slots } = active;
    const { prompt, promptTop } = sequence;
    const [first, ...others] = slots;
    if (first === undefined) return;
    // Again: prompts that began together with this one have been computed meanwhile.
    await this.#share(active);
    const { gpu } = this.#decoder;
    const block = gpu.info.software ? SOFTWARE_BLOCK : PROMPT_BLOCK;
    const end = Math.min(prompt.length - 1, first.length + block);
    if (end > first.length) {
      const ids = prompt.slice(first.length, end);
      const scoring =
        promptTop === undefined
          ? undefined
          : { next: prompt.slice(first.length + 1, end + 1), top: Math.max(1, promptTop) };
      const logits = await this.#batch.prefill(first, ids, prompt.length, scoring);
      active.logits.push(...logits);
      // What is sent cannot be taken back, and whoever leaves meanwhile should not be waited for.
      await gpu.idle();
    }
    const { length } = first;
    if (length < prompt.length - 1) return;
    // One at a time: rows on their way exist twice.
    for (const to of others) await this.#batch.pool.copy([{ from: first, to, length }]);
    active.isPrompted = true;
    if (sequence.prompted(active.cached, active.logits)) this.#end(active);
  }

  async #share(active: Active): Promise<void> {
    const [slot] = active.slots;
    const running = this.#active.flatMap(({ slots }) => slots);
    if (slot !== undefined) active.cached += await this.#kept.share(active.sequence, slot, running);
  }

  async #step(ready: readonly Active[]): Promise<void> {
    const tokens = ready.flatMap(({ sequence, slots, next }) =>
      slots.map((slot, beam) => ({ slot, id: next[beam] ?? 0, ...sequence.wants })),
    );
    const results = await this.#batch.step(tokens);
    const moves: { from: Slot; to: Slot; length: number }[] = [];
    let at = 0;
    for (const active of ready) {
      const rows = results.slice(at, (at += active.slots.length));
      const next = this.#take(active, rows);
      if (next === "anew") this.#startAnew(active);
      else if (next !== undefined) {
        active.next = next.map(({ id }) => id);
        moves.push(...movesOf(active.slots, next));
      }
    }
    if (moves.length > 0) await this.#batch.pool.copy(moves);
  }

  /** Hands a sequence its logits; where it fails, the others go on. */
  #take(active: Active, rows: readonly BatchLogits[]): ReturnType<Sequence["take"]> {
    try {
      const next = active.sequence.take(rows);
      if (next === undefined) this.#end(active);
      return next;
    } catch (error) {
      this.#fail(active, error);
      return undefined;
    }
  }

  #startAnew(active: Active): void {
    for (const slot of active.slots) slot.truncate(0);
    active.isPrompted = false;
    active.next = active.slots.map(() => active.sequence.prompt.at(-1) ?? 0);
  }

  #fail(active: Active, reason: unknown): void {
    this.#end(active, 0);
    active.sequence.out.fail(reason);
  }

  /** @param slotsKept how many of its slots are kept for others, if they hold something useful */
  #end(ended: Active, slotsKept = 1): void {
    if (!this.#active.includes(ended)) return;
    this.#active = this.#active.filter((active) => active !== ended);
    this.#kept.keep(ended.slots, slotsKept);
  }
}

function movesOf(slots: readonly Slot[], next: readonly NextBeam[]): { from: Slot; to: Slot; length: number }[] {
  return next.flatMap(({ parent }, beam) => {
    const [from, to] = [slots[parent], slots[beam]];
    if (from === undefined || to === undefined || from === to) return [];
    return [{ from, to, length: from.length }];
  });
}

/** What is said of a sequence that no empty cache has room for. */
function tooLarge({ positions, beams }: Sequence): RandloraError {
  const message = `${beams} sequences of ${positions} tokens are more than this device can hold the keys of`;
  return new RandloraError("memory", message, "take fewer beams, or shorter texts");
}
