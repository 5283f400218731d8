import { PROMPT_BLOCK } from "../../models/decoder/cache/layer-cache.ts";
import { Batch } from "../../models/decoder/cache/batch.ts";
import type { BatchLogits } from "../../models/decoder/cache/batch-logits.ts";
import type { Move } from "../../models/decoder/cache/slot-pool.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import type { Slot } from "../../models/decoder/cache/slot.ts";
import type { Active } from "./active.ts";
import type { KeptSlotsOptions } from "./kept-slots.ts";
import { Line, type LineOptions } from "./line.ts";
import { BUSY, EVEN, Pace, type Share } from "./pace.ts";
import { isMemory } from "./no-room.ts";
import type { Sequence } from "./sequence.ts";
import { SlotAllocation } from "./slot-allocation.ts";

/** Prompt tokens that a pass takes where no text is written, on a software GPU: whoever leaves waits for them. */
export const SOFTWARE_BLOCK = 192;

/** As many tokens at a prompt's end are read with those before them: a pass of their own would take far longer. */
const FEW = 16;

export interface RunningOptions extends KeptSlotsOptions, LineOptions {
  /** KV cache positions of all sequences. */
  readonly positions: number;
}

/** The passes over sequences that run. */
export class Running implements Disposable {
  readonly #decoder: Decoder;
  readonly #batch: Batch;
  readonly #pace: Pace;
  readonly #isWholeFirst: boolean;
  readonly line: Line;
  readonly slots: SlotAllocation;
  /** Passes that the device had no room for, one after another. */
  #failures = 0;
  /** Tokens of short prompts that were computed since the last piece of a long one. */
  #ahead = 0;
  /** Steps that had no room since one came to an end that told something new: what they lost may have been computed again between. */
  #stuck = 0;

  constructor(decoder: Decoder, options: RunningOptions) {
    this.#decoder = decoder;
    this.#isWholeFirst = options.promptsFirst === true;
    this.line = new Line(options);
    this.#batch = new Batch(decoder, options);
    this.slots = new SlotAllocation(decoder, this.#batch.pool, this.line, options);
    this.#pace = new Pace(decoder.gpu.info.software ? SOFTWARE_BLOCK : PROMPT_BLOCK);
  }

  /** Computes a piece of the prompt whose turn it is; its last token is decoded in the batch. */
  async readPiece(): Promise<void> {
    const [next] = this.line.prompted(false);
    if (next !== undefined) await this.#prompt(next, this.#piece(this.#ahead));
    this.#ahead = 0;
  }

  /** Computes prompts that end within a piece, all together: they go before the next piece of a longer one, which is the shorter for it. */
  async readShort(): Promise<void> {
    const most = this.#isWholeFirst ? Infinity : this.#piece();
    for (const active of this.line.prompted(false)) {
      const left = endOfPrompt(active) - (active.slots[0]?.length ?? 0);
      if (this.#ahead + left > most) continue;
      this.#ahead += left;
      while (active.isRunning && !active.isPrompted) await this.#prompt(active, this.#pace.piece(undefined));
    }
  }

  /** Decodes a token of each of these that there is room for. The others give way: they come to the same tokens by the same passes. */
  async step(wanted: readonly Active[]): Promise<void> {
    for (const active of wanted.toSorted((left, right) => left.number - right.number))
      await this.slots.makeRoom(active);
    // Where not even what slots held has room any more, or beams that changed places had none, it is computed again.
    for (const one of wanted) if (one.isBroken) one.startAnew();
    // Whoever made room may have lost what others had: they have theirs in the next step.
    const ready = wanted.filter(({ isRunning, isPrompted, hasRoom }) => isRunning && isPrompted && hasRoom);
    const tokens = ready.flatMap(({ sequence, slots }) =>
      slots.map((slot, beam) => ({ slot, id: sequence.tokenAt(beam, slot.length), ...sequence.wants })),
    );
    if (tokens.length === 0) return;
    const start = performance.now();
    const preparing = Promise.all(ready.map(({ sequence }) => sequence.prepare?.()));
    const results = await this.#counted(() => this.#batch.step(tokens));
    this.#pace.stepped(performance.now() - start);
    this.#failures = 0;
    await preparing;
    this.line.step();
    const moves: Move[] = [];
    let [at, isNew] = [0, false];
    for (const active of ready) {
      active.count();
      const rows = results.slice(at, (at += active.slots.length));
      // What follows is known already of one that began again.
      if ((active.slots[0]?.length ?? 0) < active.sequence.known) continue;
      isNew = true;
      const next = this.#take(active, rows);
      if (next === "anew") active.startAnew();
      else if (next !== undefined) moves.push(...movesOf(active.slots, next));
    }
    if (moves.length > 0) await this.#counted(() => this.#batch.pool.copy(moves));
    if (isNew) this.#stuck = 0;
  }

  /**
   * What a pass failed with ends all that it was to compute. Where the device had no room for it, what can be computed again is
   * given up first; then the sequence that began last gives way, and one that is alone ends.
   */
  failed(thrown: unknown): void {
    const { running } = this.line;
    if (!isMemory(thrown) || (this.#failures > 0 && running.length <= 1)) {
      for (const active of running) this.slots.fail(active, thrown);
      return;
    }
    if (this.#failures > 0) {
      this.slots.giveWay();
      this.#stuck = 0;
    }
    this.#failures = this.#failures > 0 ? 0 : 1;
    this.slots.loseAllWaiting();
    this.#batch.pool.tighten();
    this.#decoder.gpu.memory.trim();
  }

  /** Says that the model's weights have changed: KV caches of the old ones are dropped. No sequence may be running. */
  weightsChanged(): void {
    if (this.line.all.some(({ slots }) => slots.length > 0))
      throw new Error("weights changed while texts were written with them");
    this.slots.loseAllWaiting();
    this.#batch.forgetPasses();
  }

  [Symbol.dispose](): void {
    this.#batch[Symbol.dispose]();
  }

  /** Part of a step: where it has no room, what was computed again since it last had none does not count. */
  async #counted<T>(part: () => Promise<T>): Promise<T> {
    try {
      return await part();
    } catch (thrown) {
      this.#failures = Math.min(1, this.#stuck++);
      throw thrown;
    }
  }

  /** What a piece may take now; undefined: nobody waits for its end. */
  get #share(): Share | undefined {
    if (this.line.prompted(true).every(({ sequence }) => sequence.out.isFull)) return undefined;
    return this.line.waiting.length > 0 ? BUSY : EVEN;
  }

  /** Tokens of the next piece. @param ahead see `Pace` */
  #piece(ahead = 0): number {
    return this.#pace.piece(this.#share, ahead);
  }

  /** Computes so many tokens of a prompt at most; the next piece is another one's. */
  async #prompt(active: Active, tokens: number): Promise<void> {
    const { sequence, slots } = active;
    const [first, ...others] = slots;
    if (first === undefined) return;
    this.line.toEnd(active);
    // Again: prompts that began together with this one have been computed meanwhile.
    await this.slots.share(active);
    const most = endOfPrompt(active);
    const endBehind = (length: number): number =>
      most - length <= Math.min(tokens + FEW, PROMPT_BLOCK) ? most : length + tokens;
    // There was room when it began, which may have been lost since where another one's could not be made, and what it held with it.
    await this.slots.makeRoom(active, endBehind(first.length));
    if (!active.isRunning) return;
    // What was told of tokens whose keys and values are lost, by a pass that failed too, comes again.
    active.logits = active.logits.slice(0, first.length);
    const end = endBehind(first.length);
    if (end > first.length) await this.#read(active, first, end);
    const { length } = first;
    if (length < most) return;
    // One at a time: rows on their way exist twice.
    for (const to of others) await this.#batch.pool.copy([{ from: first, to, length }]);
    active.isPrompted = true;
    if (sequence.prompted(active.cached, active.logits)) this.slots.end(active);
  }

  /** Computes a prompt's tokens behind those that a slot holds, up to `end`. */
  async #read(active: Active, slot: Slot, end: number): Promise<void> {
    const { sequence } = active;
    const { prompt, options } = sequence;
    const { promptTop } = options;
    const start = performance.now();
    const first = slot.length;
    const ids = prompt.slice(first, end);
    const next = prompt.slice(first + 1, end + 1);
    const scoring = promptTop === undefined ? undefined : { next, top: Math.max(1, promptTop) };
    if (sequence.takeHidden === undefined) {
      active.logits = active.logits.concat(await this.#batch.prefill(slot, ids, prompt.length, scoring));
    } else sequence.takeHidden(first, await this.#batch.hiddenStates(slot, ids, prompt.length));
    active.count(ids.length);
    this.#failures = 0;
    // What is sent cannot be taken back, and whoever leaves meanwhile should not be waited for.
    await this.#decoder.gpu.idle();
    if (this.#share !== undefined) this.#pace.read(performance.now() - start, ids.length);
  }

  /** Hands a sequence its logits; where it fails, the others go on. */
  #take(active: Active, rows: readonly BatchLogits[]): ReturnType<Sequence["take"]> {
    try {
      const next = active.sequence.take(rows);
      if (next === undefined) this.slots.end(active);
      return next;
    } catch (error) {
      this.slots.fail(active, error);
      return undefined;
    }
  }
}

/** Tokens of its prompt that passes over prompts compute: where text follows, its last one is decoded. */
function endOfPrompt({ sequence: { prompt, takeHidden } }: Active): number {
  return takeHidden === undefined ? prompt.length - 1 : prompt.length;
}

function movesOf(slots: readonly Slot[], parents: readonly number[]): Move[] {
  return parents.flatMap((parent, beam) => {
    const [from, to] = [slots[parent], slots[beam]];
    if (from === undefined || to === undefined || from === to) return [];
    return [{ from, to, length: from.length }];
  });
}
