import { Batch, type BatchLogits, PROMPT_BLOCK } from "../../models/decoder/cache/batch.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { sameAngles } from "../../models/blocks/rope-scaling.ts";
import type { Slot } from "../../models/decoder/cache/slot.ts";
import type { NextBeam } from "./beam-search.ts";
import type { Writing } from "./writing.ts";

/** Tokens of prompts that a turn computes where the processor does: what is being written waits for them. */
const SOFTWARE_BLOCK = 192;
/** Positions that a text is given behind its prompt, if it may need so many; it gets more when it has. */
const SPARE = 256;

export interface WritingLoopOptions {
  /** Sequences that are decoded together at most: each text takes as many as it has beams. */
  readonly rows: number;
  /** Positions of all of them together at most; texts that may need more wait. */
  readonly positions: number;
}

interface Active {
  readonly writing: Writing;
  readonly slots: readonly Slot[];
  /** The token that each beam goes on with; those of the prompt come before. */
  next: readonly number[];
  /** Has all of the prompt but its last token been computed, in all slots? */
  isPrompted: boolean;
  /** Tokens of the prompt that were computed for others. */
  cached: number;
}

/**
 * Writes several texts at a time: each turn computes a part of a prompt, and one token of every text whose prompt has been
 * computed. A text that ends makes room for another at once. Slots of texts that have ended are kept while there is room:
 * a prompt that begins as theirs did need not be computed again.
 */
export class WritingLoop implements Disposable {
  readonly #decoder: Decoder;
  readonly #batch: Batch;
  readonly #rows: number;
  #active: Active[] = [];
  /** Slots of texts that have ended, the oldest first. */
  #idle: Slot[] = [];

  constructor(decoder: Decoder, { rows, positions }: WritingLoopOptions) {
    this.#decoder = decoder;
    this.#batch = new Batch(decoder, { rows, positions });
    this.#rows = rows;
  }

  /** Texts that are being written. */
  get size(): number {
    return this.#active.length;
  }

  /**
   * Begins a text, if there is room; it goes on in turns.
   * @returns whether there is
   */
  async begin(writing: Writing): Promise<boolean> {
    const { prompt, beams, positions } = writing;
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
    const active: Active = { writing, slots, next, isPrompted: false, cached: 0 };
    this.#active.push(active);
    try {
      const soon = Math.min(positions, prompt.length + SPARE);
      for (const slot of slots) await this.#batch.pool.reserve(slot, soon);
      // Now: what others have left may have to give way before its turn comes.
      await this.#reuse(active);
      return true;
    } catch (thrown) {
      this.#end(writing, false);
      throw thrown;
    }
  }

  /**
   * Goes on with everything that is being written.
   * @param promptsFirst whole prompts of all before the next token of any: nobody watches
   */
  async turn({ promptsFirst = false } = {}): Promise<void> {
    for (const { writing } of this.#active) {
      if (writing.signal?.aborted === true) this.#fail(writing, writing.signal.reason);
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
      for (const { writing } of this.#active) this.#fail(writing, thrown);
    }
    if (this.#active.length === 0) this.#decoder.gpu.memory.dropUnused();
  }

  /** Says that the model's weights have changed: nothing that was computed counts any more. Nothing is being written. */
  weightsChanged(): void {
    if (this.#active.length > 0) throw new Error("weights changed while texts were written with them");
    for (const slot of this.#idle.splice(0)) this.#batch.pool.release(slot);
    this.#batch.weightsChanged();
  }

  /** Ends every text that is being written. */
  abort(reason: unknown): void {
    for (const { writing } of this.#active) this.#fail(writing, reason);
  }

  [Symbol.dispose](): void {
    this.#batch[Symbol.dispose]();
  }

  /** Computes some of the prompt; its last token is the first that a pass over all texts takes. */
  async #prompt(active: Active): Promise<void> {
    const { writing, slots } = active;
    const { prompt, promptTop } = writing;
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
      if (logits.length > 0) writing.takePrompt(logits);
      // What is sent cannot be taken back, and whoever leaves meanwhile should not be waited for.
      await gpu.idle();
    }
    const { length } = first;
    if (length < prompt.length - 1) return;
    // One at a time: rows on their way exist twice.
    for (const to of others) await this.#batch.pool.copy([{ from: first, to, length }]);
    active.isPrompted = true;
    if (writing.prompted(active.cached)) this.#end(writing, true);
  }

  async #step(ready: readonly Active[]): Promise<void> {
    const tokens = ready.flatMap(({ writing, slots, next }) =>
      slots.map((slot, beam) => ({ slot, id: next[beam] ?? 0, ...writing.wants })),
    );
    const results = await this.#batch.step(tokens);
    const moves: { from: Slot; to: Slot; length: number }[] = [];
    let at = 0;
    for (const active of ready) {
      const rows = results.slice(at, (at += active.slots.length));
      const next = this.#take(active.writing, rows);
      if (next !== undefined) {
        active.next = next.map(({ id }) => id);
        moves.push(...movesOf(active.slots, next));
      }
    }
    if (moves.length > 0) await this.#batch.pool.copy(moves);
  }

  /** What a text makes of its logits; where that fails, the others go on. */
  #take(writing: Writing, rows: readonly BatchLogits[]): readonly NextBeam[] | undefined {
    try {
      const next = writing.take(rows);
      if (next === undefined) this.#end(writing, true);
      return next;
    } catch (error) {
      this.#fail(writing, error);
      return undefined;
    }
  }

  /**
   * Copies what some slot holds of the beginning of a prompt, if it is more than this text's own. Only what passes over prompts
   * computed is taken: computing it again would give the same bits, so no text depends on what was written before.
   */
  async #reuse(active: Active): Promise<void> {
    const { prompt, promptTop } = active.writing;
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

  /** Gives up slots of ended texts, the oldest first, until there is room. */
  #evictFor(positions: number): Slot | undefined {
    for (;;) {
      const oldest = this.#idle.shift();
      if (oldest === undefined) return undefined;
      this.#batch.pool.release(oldest);
      const slot = this.#batch.pool.acquire(positions);
      if (slot !== undefined) return slot;
    }
  }

  #fail(writing: Writing, reason: unknown): void {
    this.#end(writing, false);
    writing.fail(reason);
  }

  /** @param keep what was computed of its prompt, for others */
  #end(writing: Writing, keep: boolean): void {
    const ended = this.#active.find((active) => active.writing === writing);
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
