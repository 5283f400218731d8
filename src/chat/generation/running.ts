import { Batch, type BatchLogits, PROMPT_BLOCK } from "../../models/decoder/cache/batch.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import type { PromptLogits } from "../../models/decoder/prompt-scores.ts";
import type { Slot } from "../../models/decoder/cache/slot.ts";
import type { NextBeam } from "./beam-search.ts";
import { KeptSlots, type KeptSlotsOptions } from "./kept-slots.ts";
import { Pace } from "./pace.ts";
import type { Sequence } from "./sequence.ts";

/** Prompt tokens that a pass takes where no text is written, on a software GPU: whoever leaves waits for them. */
const SOFTWARE_BLOCK = 192;
/** KV cache positions reserved behind a prompt, if the sequence may need as many; it gets more when these are filled. */
const SPARE = 256;

export interface RunningOptions extends KeptSlotsOptions {
  /** Maximum number of rows in a batch: a sequence takes as many as it has beams. */
  readonly rows: number;
  /** KV cache positions of all of them; sequences that may need more wait. */
  readonly positions: number;
}

/** A sequence that runs. */
export interface Active {
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

/** Sequences that run, and the passes over them. A sequence that ends frees its slots at once. */
export class Running implements Disposable {
  readonly #decoder: Decoder;
  readonly #batch: Batch;
  readonly #kept: KeptSlots;
  readonly #pace: Pace;
  readonly #rows: number;
  #all: readonly Active[] = [];

  constructor(decoder: Decoder, options: RunningOptions) {
    this.#decoder = decoder;
    this.#rows = options.rows;
    this.#batch = new Batch(decoder, options);
    this.#kept = new KeptSlots(decoder, this.#batch.pool, options);
    this.#pace = new Pace(decoder.gpu.info.software ? SOFTWARE_BLOCK : PROMPT_BLOCK);
  }

  get all(): readonly Active[] {
    return this.#all;
  }

  /** Rows of a batch that are free. */
  get rowsLeft(): number {
    return this.#all.reduce((left, { slots }) => left - slots.length, this.#rows);
  }

  /** Lets a sequence begin. @returns whether there are slots for it */
  async begin(sequence: Sequence): Promise<boolean> {
    if (sequence.beams > this.rowsLeft) return false;
    const slots = this.#kept.acquire(sequence);
    if (slots === undefined) return false;
    const { prompt } = sequence;
    const next = slots.map(() => prompt.at(-1) ?? 0);
    const active: Active = { sequence, slots, next, isPrompted: false, cached: slots[0]?.length ?? 0, logits: [] };
    this.#all = [...this.#all, active];
    try {
      const soon = Math.min(sequence.positions, prompt.length + SPARE);
      for (const slot of slots) await this.#batch.pool.reserve(slot, soon);
      // Now: what others have left may have to give way before its turn comes.
      await this.#share(active);
      return true;
    } catch (thrown) {
      this.end(active, 0);
      throw thrown;
    }
  }

  /**
   * Computes a piece of a prompt, whose last token is decoded in the batch; the next piece is another one's.
   * @param isWaitedFor texts that are written wait for it
   */
  async prompt(active: Active, isWaitedFor: boolean): Promise<void> {
    const { sequence, slots } = active;
    const { prompt } = sequence;
    const [first, ...others] = slots;
    if (first === undefined) return;
    this.#all = [...this.#all.filter((other) => other !== active), active];
    // Again: prompts that began together with this one have been computed meanwhile.
    await this.#share(active);
    const end = Math.min(prompt.length - 1, first.length + this.#pace.piece(isWaitedFor));
    if (end > first.length) await this.#read(active, first, end);
    const { length } = first;
    if (length < prompt.length - 1) return;
    // One at a time: rows on their way exist twice.
    for (const to of others) await this.#batch.pool.copy([{ from: first, to, length }]);
    active.isPrompted = true;
    if (sequence.prompted(active.cached, active.logits)) this.end(active);
  }

  /** Decodes a token of each of these. */
  async step(ready: readonly Active[]): Promise<void> {
    const tokens = ready.flatMap(({ sequence, slots, next }) =>
      slots.map((slot, beam) => ({ slot, id: next[beam] ?? 0, ...sequence.wants })),
    );
    const start = performance.now();
    const results = await this.#batch.step(tokens);
    this.#pace.stepped(performance.now() - start);
    const moves: { from: Slot; to: Slot; length: number }[] = [];
    let at = 0;
    for (const active of ready) {
      const rows = results.slice(at, (at += active.slots.length));
      const next = this.#take(active, rows);
      if (next === "anew") startAnew(active);
      else if (next !== undefined) {
        active.next = next.map(({ id }) => id);
        moves.push(...movesOf(active.slots, next));
      }
    }
    if (moves.length > 0) await this.#batch.pool.copy(moves);
  }

  /** Ends one, and says why. */
  fail(active: Active, reason: unknown): void {
    this.end(active, 0);
    active.sequence.out.fail(reason);
  }

  /** @param slotsKept how many of its slots are kept for others, if they hold something useful */
  end(ended: Active, slotsKept = 1): void {
    if (!this.#all.includes(ended)) return;
    this.#all = this.#all.filter((active) => active !== ended);
    this.#kept.keep(ended.slots, slotsKept);
    // What the texts that were just written needed may never be needed again.
    if (this.#all.length === 0) this.#decoder.gpu.memory.dropUnused();
  }

  /** Says that the model's weights have changed: KV caches of the old ones are dropped. No sequence may be running. */
  weightsChanged(): void {
    if (this.#all.length > 0) throw new Error("weights changed while texts were written with them");
    this.#kept.clear();
    this.#batch.weightsChanged();
  }

  [Symbol.dispose](): void {
    this.#batch[Symbol.dispose]();
  }

  async #share(active: Active): Promise<void> {
    const [slot] = active.slots;
    const running = this.#all.flatMap(({ slots }) => slots);
    if (slot !== undefined) active.cached += await this.#kept.share(active.sequence, slot, running);
  }

  /** Computes a prompt's tokens behind those that a slot holds, up to `end`. */
  async #read({ sequence: { prompt, promptTop }, logits }: Active, slot: Slot, end: number): Promise<void> {
    const start = performance.now();
    const ids = prompt.slice(slot.length, end);
    const next = prompt.slice(slot.length + 1, end + 1);
    const scoring = promptTop === undefined ? undefined : { next, top: Math.max(1, promptTop) };
    logits.push(...(await this.#batch.prefill(slot, ids, prompt.length, scoring)));
    // What is sent cannot be taken back, and whoever leaves meanwhile should not be waited for.
    await this.#decoder.gpu.idle();
    this.#pace.read(performance.now() - start, ids.length);
  }

  /** Hands a sequence its logits; where it fails, the others go on. */
  #take(active: Active, rows: readonly BatchLogits[]): ReturnType<Sequence["take"]> {
    try {
      const next = active.sequence.take(rows);
      if (next === undefined) this.end(active);
      return next;
    } catch (error) {
      this.fail(active, error);
      return undefined;
    }
  }
}

function startAnew(active: Active): void {
  for (const slot of active.slots) slot.truncate(0);
  active.isPrompted = false;
  active.next = active.slots.map(() => active.sequence.prompt.at(-1) ?? 0);
}

function movesOf(slots: readonly Slot[], next: readonly NextBeam[]): { from: Slot; to: Slot; length: number }[] {
  return next.flatMap(({ parent }, beam) => {
    const [from, to] = [slots[parent], slots[beam]];
    if (from === undefined || to === undefined || from === to) return [];
    return [{ from, to, length: from.length }];
  });
}
