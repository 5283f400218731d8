import { isMemory, RandloraError } from "../../files/errors.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import type { SlotPool } from "../../models/decoder/cache/slot-pool.ts";
import type { Active, Line } from "./line.ts";
import { itemAt } from "../../files/item-at.ts";
import { KeptSlots, type KeptSlotsOptions } from "./kept-slots.ts";
import type { Sequence } from "./sequence.ts";

/** KV cache positions that there is room for behind what is known, if the sequence may need as many; it gets more when these are filled. */
const SPARE = 256;

/** Which sequences have slots, and who gives way where there is no room. A sequence that ends frees its slots at once. */
export class SlotAllocation {
  readonly #decoder: Decoder;
  readonly #pool: SlotPool;
  readonly #line: Line;
  readonly #kept: KeptSlots;

  constructor(decoder: Decoder, pool: SlotPool, line: Line, options: KeptSlotsOptions) {
    this.#decoder = decoder;
    this.#pool = pool;
    this.#line = line;
    this.#kept = new KeptSlots(decoder, pool, options);
  }

  /**
   * Lets a sequence begin or go on, with room for what is known of it and a little more. Where there is none, one that has had its
   * turn goes behind all that wait.
   * @returns whether there is room now
   * @throws RandloraError `memory`, `data` where there never is
   */
  async begin(active: Active): Promise<boolean> {
    const most = this.#pool.mostOf(active.sequence.beams);
    if (active.sequence.needed > most) throw tooLarge(active.sequence, most);
    while (this.#line.rowsLeft < active.sequence.beams || !(await this.#hold(active))) {
      if (!this.#line.pauseFor(active)) return false;
    }
    this.#line.begin(active);
    return true;
  }

  /** Has a sequence that begins go on from what others hold of its prompt. */
  async share(active: Active): Promise<void> {
    const [slot] = active.slots;
    const others = this.#line.all.flatMap(({ slots }) => slots);
    if (slot !== undefined) active.cached += await this.#kept.share(active.sequence, slot, others);
  }

  /**
   * Makes room for one more token of a sequence, or for so many positions, or lets the one that began last give way; one that is alone and has
   * none fails.
   */
  async makeRoom(active: Active, positions = 0): Promise<void> {
    while (active.isRunning) {
      const missing = await this.#grow(active, positions);
      if (missing === undefined) {
        // Room may have been made at the cost of what its slots held, which is computed again.
        active.cached = Math.min(active.cached, itemAt(active.slots, 0).length);
        return;
      }
      if (this.#kept.clear() || this.#loseLast()) continue;
      if (this.#line.running.length === 1) this.fail(active, missing);
      else this.giveWay();
    }
  }

  /** The one that began last gives up what was computed, and waits. */
  giveWay(): void {
    const last = this.#line.running.reduce((one, other) => (other.number > one.number ? other : one));
    this.#lose(last);
    this.#line.giveWay(last);
  }

  /** @param slotsKept how many of its slots are kept for others, if they hold something useful */
  end(ended: Active, slotsKept = 1): void {
    if (!this.#line.all.includes(ended)) return;
    this.#line.remove(ended);
    this.#lose(ended, slotsKept);
    // What the texts that were just written needed may never be needed again.
    if (this.#line.all.length === 0) this.#decoder.gpu.memory.dropUnused();
  }

  /** Ends one, and says why. */
  fail(active: Active, reason: unknown): void {
    this.end(active, 0);
    active.sequence.out.fail(reason);
  }

  /** Gives up what can be computed again: what is kept, and what was computed of sequences that wait for their turn. */
  loseAllWaiting(): void {
    while (this.#loseLast());
    this.#kept.clear();
  }

  /** Gives a sequence its slots, unless it has them. @returns whether there is room now */
  async #hold(active: Active): Promise<boolean> {
    const { sequence } = active;
    const soon = Math.min(sequence.positions, sequence.known + SPARE, this.#pool.mostOf(sequence.beams));
    while (active.slots.length === 0) {
      try {
        active.slots = this.#kept.acquire(sequence, soon);
        active.cached = itemAt(active.slots, 0).length;
        for (const slot of active.slots) {
          if (await this.#kept.reserve(slot, soon, soon)) continue;
          this.#lose(active, 0);
          break;
        }
        // Now: what others have left may have to give way before its turn comes.
        await this.share(active);
      } catch (thrown) {
        this.#lose(active, 0);
        if (isMemory(thrown) && this.#kept.clear()) continue;
        // What the device has no room for now, it may have when others have ended.
        if (!isMemory(thrown) || this.#line.all.every(({ slots }) => slots.length === 0)) throw thrown;
        this.#line.shrink();
      }
      if (active.slots.length === 0 && !this.#loseLast()) return false;
    }
    return true;
  }

  /** @returns undefined, or why there is no room */
  async #grow({ sequence, slots }: Active, positions: number): Promise<unknown> {
    const { beams } = sequence;
    try {
      for (const slot of slots) {
        const next = Math.max(slot.length + 1, positions);
        if (!(await this.#kept.reserve(slot, next, Math.min(sequence.positions, next + SPARE))))
          return tooLarge({ beams, needed: next }, this.#pool.mostOf(beams));
      }
      return undefined;
    } catch (thrown) {
      if (isMemory(thrown)) return thrown;
      throw thrown;
    }
  }

  /** Gives up what was computed of a sequence. Of a prompt without an answer nothing is kept, however it ends: it would evict chats. */
  #lose(active: Active, slotsKept = 1): void {
    this.#kept.keep(active.lose(), active.sequence.takeHidden === undefined ? slotsKept : 0);
  }

  /** Gives up what was computed of the one that has its next turn last. @returns whether there is one */
  #loseLast(): boolean {
    const last = this.#line.all.findLast(({ isRunning, slots }) => !isRunning && slots.length > 0);
    if (last !== undefined) this.#lose(last);
    return last !== undefined;
  }
}

/** What is said of a sequence that not even an empty cache has room for. @param fits positions that each may have */
function tooLarge({ needed, beams }: Pick<Sequence, "needed" | "beams">, fits: number): RandloraError {
  const what = beams === 1 ? `a text of ${needed} tokens is` : `${beams} sequences of ${needed} tokens are`;
  const hint = beams === 1 ? "ask for fewer tokens, or shorten the prompt" : "take fewer beams, or shorter texts";
  const code = beams === 1 ? "data" : "memory";
  return new RandloraError(code, `${what} more than there is room for the keys and values of: ${fits} fit`, hint);
}
