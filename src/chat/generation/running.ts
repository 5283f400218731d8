import { PROMPT_BLOCK } from "../../models/decoder/cache/layer-cache.ts";
import { Batch, type PieceResult } from "../../models/decoder/cache/batch.ts";
import type { BatchLogits } from "../../models/decoder/cache/batch-pass.ts";
import type { Move } from "../../models/decoder/cache/slot-pool.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { isMemory } from "../../files/errors.ts";
import { itemAt } from "../../files/item-at.ts";
import type { Slot } from "../../models/decoder/cache/slot.ts";
import { type Active, Line, type LineOptions } from "./line.ts";
import type { KeptSlotsOptions } from "./kept-slots.ts";
import { endOfPrompt, hasPlace, Pace, type Piece, PromptPieces } from "./prompt-pieces.ts";
import type { Sequence } from "./sequence.ts";
import { SlotAllocation } from "./slot-allocation.ts";

/** Prompt tokens that a pass takes where no text is written, on a software GPU: whoever leaves waits for them. */
export const SOFTWARE_BLOCK = 192;

export interface RunningOptions extends KeptSlotsOptions, LineOptions {
  /** KV cache positions of all sequences. */
  readonly positions: number;
  /** Told when a sequence that sat out steps can go on. */
  readonly onReady: () => void;
}

/** The passes over sequences that run. */
export class Running implements Disposable {
  readonly #decoder: Decoder;
  readonly #batch: Batch;
  readonly #pace: Pace;
  readonly #pieces: PromptPieces;
  readonly #onReady: () => void;
  readonly line: Line;
  readonly slots: SlotAllocation;
  /** Passes that the device had no room for, one after another. */
  #failures = 0;
  /** Steps that had no room since one came to an end that told something new: what they lost may have been computed again between. */
  #stuck = 0;

  constructor(decoder: Decoder, options: RunningOptions) {
    this.#decoder = decoder;
    this.#onReady = options.onReady;
    this.line = new Line(options);
    this.#batch = new Batch(decoder, options);
    this.slots = new SlotAllocation(decoder, this.#batch.pool, this.line, options);
    this.#pace = new Pace(decoder.gpu.info.software ? SOFTWARE_BLOCK : PROMPT_BLOCK);
    this.#pieces = new PromptPieces(this.line, this.slots, this.#batch, this.#pace);
  }

  /**
   * A turn: pieces of the prompts whose turn it is, and a token of each text whose prompt has been computed and of which somebody takes what
   * comes. All are one pass where the batch mixes them. Those that there is no room for give way: they come to the same tokens.
   * @returns whether there was anything to compute
   */
  async turn(): Promise<boolean> {
    for (const active of this.line.all) this.#takeReady(active);
    const next = await this.#pieces.next();
    // Whoever made room may have lost what others had: they have theirs in the next turn.
    const placed = next.filter(hasPlace);
    for (const { ids, active } of placed) if (ids.length === 0) await this.#prompted(active);
    let pieces = placed.filter(({ ids }) => ids.length > 0);
    if (!this.#batch.mixes) {
      await this.#pass([], pieces);
      pieces = [];
    }
    // Nobody watches: texts go on when all prompts have been read.
    const wanted = this.line.isWholeFirst && this.line.prefilling.length > 0 ? [] : this.line.decoding;
    const ready = await this.#makeReady(wanted);
    await this.#pass(ready, pieces.filter(hasPlace));
    return wanted.length > 0 || next.length > 0;
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

  /** Makes room for one more token of each text. @returns those that have it */
  async #makeReady(wanted: readonly Active[]): Promise<Active[]> {
    for (const active of wanted.toSorted((left, right) => left.number - right.number))
      await this.slots.makeRoom(active);
    // Where not even what slots held has room any more, or beams that changed places had none, it is computed again.
    for (const one of wanted) if (one.isBroken) one.startAnew();
    return wanted.filter(({ isRunning, isPrompted, hasRoom }) => isRunning && isPrompted && hasRoom);
  }

  /** A pass over a token of each of these, and pieces of prompts; none where there is nothing of both. */
  async #pass(ready: readonly Active[], pieces: readonly Piece[]): Promise<void> {
    if (ready.length === 0 && pieces.length === 0) return;
    const written = [...ready, ...pieces.flatMap(({ goesOn, active }) => (goesOn ? [active] : []))];
    const ends = new Map(pieces.map(({ slot, end }) => [slot, end]));
    const tokens = written.flatMap(({ sequence, slots }) =>
      slots.map((slot, beam) => ({
        slot,
        id: sequence.tokenAt(beam, ends.get(slot) ?? slot.length),
        ...sequence.wants,
      })),
    );
    const start = performance.now();
    for (const active of written) active.prepare(this.#onReady);
    const pass = () => this.#batch.pass(tokens, ...pieces);
    const { next, pieces: results } = await (ready.length > 0 ? this.#counted(pass) : pass());
    this.#failures = 0;
    // What is sent cannot be taken back, and whoever leaves meanwhile should not be waited for.
    if (tokens.length === 0) await this.#decoder.gpu.idle();
    const isStep = ready.length > 0;
    // What no text waited for says nothing.
    const read = pieces.reduce((sum, { ids }) => sum + ids.length, 0);
    const keys = pieces.reduce((sum, { first, ids }) => sum + ids.length * (first + ids.length / 2), 0);
    if (isStep || this.#pieces.isWaitedFor) this.#pace.passed(performance.now() - start, isStep, read, keys);
    for (const [index, piece] of pieces.entries()) await this.#read(piece, itemAt(results, index));
    if (tokens.length > 0) this.line.step();
    const moves: Move[] = [];
    let [at, isNew] = [0, false];
    for (const active of written) {
      const rows = next.slice(at, (at += active.sequence.beams));
      // Its prompt was all, and its slots are gone.
      if (!this.line.all.includes(active)) continue;
      active.count();
      // What follows is known already of one that began again.
      if ((active.slots[0]?.length ?? 0) < active.sequence.known) continue;
      isNew = true;
      moves.push(...this.#takeReady(active, rows));
    }
    if (moves.length > 0) await this.#counted(() => this.#batch.pool.copy(moves));
    if (isNew) this.#stuck = 0;
  }

  /** Takes what came of a piece of a prompt. */
  async #read({ active, slot, first, ids }: Piece, { scores, hidden }: PieceResult): Promise<void> {
    active.count(ids.length);
    // What was told of tokens whose keys and values were lost, by a pass that failed too, comes again.
    active.logits = active.logits.slice(0, first).concat(scores);
    if (hidden !== undefined) active.sequence.takeHidden?.(first, hidden);
    if (slot.length >= endOfPrompt(active)) await this.#prompted(active);
  }

  /** A prompt has been computed: a sequence's other slots have it, too, and the sequence is told. */
  async #prompted(active: Active): Promise<void> {
    const from = itemAt(active.slots, 0);
    // One at a time: rows on their way exist twice.
    for (const to of active.slots.slice(1)) await this.#batch.pool.copy([{ from, to, length: from.length }]);
    active.isPrompted = true;
    if (active.sequence.prompted(active.cached, active.logits)) this.slots.end(active);
  }

  /** Hands a sequence its logits, or those that it has, where it can choose from them. @returns which of its slots change places */
  #takeReady(active: Active, rows?: readonly BatchLogits[]): Move[] {
    const ready = active.ready(rows);
    const after = ready && this.#take(active, ready);
    if (after === "anew") active.startAnew();
    return after === undefined || after === "anew" ? [] : movesOf(active.slots, after);
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

function movesOf(slots: readonly Slot[], parents: readonly number[]): Move[] {
  return parents.flatMap((parent, beam) => {
    const [from, to] = [slots[parent], slots[beam]];
    if (from === undefined || to === undefined || from === to) return [];
    return [{ from, to, length: from.length }];
  });
}
