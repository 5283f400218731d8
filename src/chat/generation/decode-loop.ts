import { RandloraError } from "../../files/errors.ts";
import { Batch, type BatchLogits, PROMPT_BLOCK } from "../../models/decoder/cache/batch.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { sameAngles } from "../../models/blocks/rope-scaling.ts";
import type { Slot } from "../../models/decoder/cache/slot.ts";
import type { NextBeam } from "./beam-search.ts";
import type { Sequence } from "./sequence.ts";

/** Prompt tokens that a turn prefills on a software GPU: running sequences wait for them. */
const SOFTWARE_BLOCK = 192;
/** KV cache positions reserved behind a prompt, if the sequence may need as many; it gets more when these are filled. */
const SPARE = 256;

export interface DecodeLoopOptions {
  /** Maximum number of rows in a batch: a sequence takes as many as it has beams. */
  readonly rows: number;
  /** KV cache positions of all of them; sequences that may need more wait. */
  readonly positions: number;
}

interface Active {
  readonly sequence: Sequence;
  readonly slots: readonly Slot[];
  /** The token that each beam goes on with; those of the prompt come before. */
  next: readonly number[];
  /** Has all of the prompt but its last token been computed, in all slots? */
  isPrompted: boolean;
  /** Tokens of the prompt that were computed for others. */
  cached: number;
}

/**
 * Continuous batching: each turn prefills a part of one prompt and decodes one token of every sequence whose prompt is in
 * the KV cache. A sequence that ends frees its slots at once. Slots of ended sequences are kept as long as nothing else
 * needs them: a prompt that begins as theirs did is not computed again.
 */
export class DecodeLoop implements Disposable {
  readonly #decoder: Decoder;
  readonly #batch: Batch;
  readonly #rows: number;
  #active: Active[] = [];
  /** Slots of sequences that have ended, the oldest first. */
  #idle: Slot[] = [];

  constructor(decoder: Decoder, { rows, positions }: DecodeLoopOptions) {
    this.#decoder = decoder;
    this.#batch = new Batch(decoder, { rows, positions });
    this.#rows = rows;
  }

  /** Number of running sequences. */
  get size(): number {
    return this.#active.length;
  }

  /**
   * Starts a sequence, if there are slots for it; it goes on in turns.
   * @returns whether there is
   */
  async begin(sequence: Sequence): Promise<boolean> {
    const { prompt, beams, positions } = sequence;
    const taken = this.#active.reduce((sum, { slots }) => sum + slots.length, 0);
    if (taken + beams > this.#rows) return false;
    const slots: Slot[] = [];
    while (slots.length < beams) {
      const slot = this.#batch.pool.acquire(positions) ?? this.#evictFor(positions);
      if (slot === undefined) {
        for (const slot of slots) this.#batch.pool.release(slot);
        return false;
      }
      slots.push(slot);
    }
    const next = slots.map(() => prompt.at(-1) ?? 0);
    const active: Active = { sequence, slots, next, isPrompted: false, cached: 0 };
    this.#active.push(active);
    try {
      const soon = Math.min(positions, prompt.length + SPARE);
      for (const slot of slots) await this.#batch.pool.reserve(slot, soon);
      // Now: what others have left may have to give way before its turn comes.
      await this.#reuse(active);
      return true;
    } catch (thrown) {
      this.#end(sequence, false);
      throw thrown;
    }
  }

  /**
   * Goes on with all running sequences.
   * @param promptsFirst whole prompts of all before the next token of any: nobody watches
   */
  async turn({ promptsFirst = false } = {}): Promise<void> {
    for (const { sequence } of this.#active) {
      if (sequence.signal?.aborted === true) this.#fail(sequence, sequence.signal.reason);
    }
    try {
      for (const active of this.#active.filter(({ isPrompted }) => !isPrompted)) {
        await this.#prompt(active);
        if (!promptsFirst) break;
        while (!active.isPrompted) await this.#prompt(active);
      }
      const ready = this.#active.filter(({ isPrompted }) => isPrompted);
      if (ready.length > 0) await this.#step(ready);
    } catch (thrown) {
      // What a device failed at concerns all that it was to compute.
      for (const { sequence } of this.#active) this.#fail(sequence, thrown);
    }
    if (this.#active.length === 0) this.#decoder.gpu.memory.dropUnused();
  }

  /** Says that the model's weights have changed: KV caches of the old ones are dropped. No sequence may be running. */
  weightsChanged(): void {
    if (this.#active.length > 0) throw new Error("weights changed while texts were written with them");
    for (const slot of this.#idle.splice(0)) this.#batch.pool.release(slot);
    this.#batch.weightsChanged();
  }

  /** Ends all running sequences. */
  abort(reason: unknown): void {
    for (const { sequence } of this.#active) this.#fail(sequence, reason);
  }

  [Symbol.dispose](): void {
    this.#batch[Symbol.dispose]();
  }

  /** Prefills a part of the prompt; its last token is decoded in the batch. */
  async #prompt(active: Active): Promise<void> {
    const { sequence, slots } = active;
    const { prompt, promptTop } = sequence;
    const [first, ...others] = slots;
    if (first === undefined) return;
    // Again: prompts that began together with this one have been computed meanwhile.
    await this.#reuse(active);
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
      if (logits.length > 0) sequence.takePrompt(logits);
      // What is sent cannot be taken back, and whoever leaves meanwhile should not be waited for.
      await gpu.idle();
    }
    const { length } = first;
    if (length < prompt.length - 1) return;
    // One at a time: rows on their way exist twice.
    for (const to of others) await this.#batch.pool.copy([{ from: first, to, length }]);
    active.isPrompted = true;
    if (sequence.prompted(active.cached)) this.#end(sequence, true);
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
      const next = this.#take(active.sequence, rows);
      if (next !== undefined) {
        active.next = next.map(({ id }) => id);
        moves.push(...movesOf(active.slots, next));
      }
    }
    if (moves.length > 0) await this.#batch.pool.copy(moves);
  }

  /** Hands a sequence its logits; where it fails, the others go on. */
  #take(sequence: Sequence, rows: readonly BatchLogits[]): readonly NextBeam[] | undefined {
    try {
      const next = sequence.take(rows);
      if (next === undefined) this.#end(sequence, true);
      return next;
    } catch (error) {
      this.#fail(sequence, error);
      return undefined;
    }
  }

  /**
   * Copies what some slot holds of the beginning of a prompt, if it is more than this sequence's own. Only what passes over prompts
   * computed is taken: computing it again would give the same bits, so no sequence depends on earlier ones.
   */
  async #reuse(active: Active): Promise<void> {
    const { prompt, promptTop } = active.sequence;
    const [slot] = active.slots;
    // Whoever asks what stood in the place of each token has the whole prompt computed.
    if (slot === undefined || promptTop !== undefined) return;
    const { ropes } = this.#decoder.config;
    const others = [...this.#idle, ...this.#active.flatMap(({ slots }) => slots)].filter(
      (other) => other !== slot && ropes.every((rope) => sameAngles(rope, other.longest, prompt.length)),
    );
    const [best] = others
      .map((from) => ({ from, length: commonLength(from, prompt) }))
      .toSorted((left, right) => right.length - left.length);
    if (best === undefined || best.length <= slot.length) return;
    active.cached += best.length - slot.length;
    await this.#batch.pool.copy([{ ...best, to: slot }]);
  }

  /** Frees slots of ended sequences, the oldest first, until one fits. */
  #evictFor(positions: number): Slot | undefined {
    for (;;) {
      const oldest = this.#idle.shift();
      if (oldest === undefined) return undefined;
      this.#batch.pool.release(oldest);
      const slot = this.#batch.pool.acquire(positions);
      if (slot !== undefined) return slot;
    }
  }

  #fail(sequence: Sequence, reason: unknown): void {
    this.#end(sequence, false);
    sequence.fail(reason);
  }

  /** @param keep what was computed of its prompt, for others */
  #end(sequence: Sequence, keep: boolean): void {
    const ended = this.#active.find((active) => active.sequence === sequence);
    if (ended === undefined) return;
    this.#active = this.#active.filter((active) => active !== ended);
    const kept = keep ? ended.slots.find(({ prefilled }) => prefilled > 0) : undefined;
    for (const slot of ended.slots) if (slot !== kept) this.#batch.pool.release(slot);
    if (kept === undefined) return;
    kept.truncate(kept.prefilled);
    this.#batch.pool.settle(kept);
    this.#idle.push(kept);
    while (this.#idle.length > this.#rows) {
      const oldest = this.#idle.shift();
      if (oldest !== undefined) this.#batch.pool.release(oldest);
    }
  }
}

function movesOf(slots: readonly Slot[], next: readonly NextBeam[]): { from: Slot; to: Slot; length: number }[] {
  return next.flatMap(({ parent }, beam) => {
    const [from, to] = [slots[parent], slots[beam]];
    if (from === undefined || to === undefined || from === to) return [];
    return [{ from, to, length: from.length }];
  });
}

/** Tokens at the beginning of a prompt, but its last, that passes over prompts put into a slot. */
function commonLength({ ids, prefilled }: Slot, prompt: readonly number[]): number {
  const most = Math.min(prefilled, prompt.length - 1);
  let common = 0;
  while (common < most && ids[common] === prompt[common]) common++;
  return common;
}

/** What is said of a sequence that no empty cache has room for. */
export function tooLarge({ positions, beams }: Sequence): RandloraError {
  const message = `${beams} sequences of ${positions} tokens are more than this device can hold the keys of`;
  return new RandloraError("memory", message, "take fewer beams, or shorter texts");
}
