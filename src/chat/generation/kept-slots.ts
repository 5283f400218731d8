import { itemAt } from "../../files/item-at.ts";
import { sameAngles } from "../../models/blocks/rope.ts";
import { commonLength, type Slot } from "../../models/decoder/cache/slot.ts";
import type { SlotPool } from "../../models/decoder/cache/slot-pool.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import type { Sequence } from "./sequence.ts";

export interface KeptSlotsOptions {
  /** Slots of ended sequences that are kept at most. */
  readonly rows: number;
  /**
   * Keep answers beside prompts. Tokens that were decoded one by one have other rounding than those of a prompt: a text may
   * then depend, in near ties, on what was said before it.
   */
  readonly keepsAnswers?: boolean | undefined;
}

/** The slot that holds the beginning of a prompt, and how many tokens of it. */
interface Beginning {
  readonly from: Slot;
  readonly length: number;
}

/**
 * Slots of sequences that have ended, kept as long as nothing else needs them: a prompt that begins as theirs did is not
 * computed again. Unless answers are kept, only what passes over prompts computed is taken: computing it again would give the same
 * bits, so no sequence depends on earlier ones.
 */
export class KeptSlots {
  readonly #config: Decoder["config"];
  readonly #pool: SlotPool;
  readonly #options: KeptSlotsOptions;
  /** The one used longest ago is the first. */
  readonly #idle = new Set<Slot>();

  constructor({ config }: Decoder, pool: SlotPool, options: KeptSlotsOptions) {
    this.#config = config;
    this.#pool = pool;
    this.#options = options;
  }

  /** Slots for a sequence, the first of which may hold its beginning. @param positions that each is to have room for */
  acquire(sequence: Sequence, positions: number): readonly Slot[] {
    const { adapter, owner } = sequence.options;
    const slots = Array.from({ length: sequence.beams }, () => this.#pool.acquire(adapter, owner));
    const first = itemAt(slots, 0);
    const best = this.#beginningOf(sequence, this.#idle);
    if (best === undefined) return slots;
    const { from, length } = best;
    this.#use(from);
    // Where most of what it holds is the beginning, or it would not be kept beside another one, it is taken over instead of copied.
    const takesOver = 2 * length >= from.length || this.#options.rows === 1;
    const hasRoom = (): boolean => this.#pool.hasRoom(first, positions);
    if (!takesOver) while (!hasRoom() && this.#idle.size > 1) this.#evictOldest();
    if (!takesOver && hasRoom()) return slots;
    this.#pool.release(first);
    this.#idle.delete(from);
    from.truncate(length);
    this.#pool.settle(from);
    slots[0] = from;
    return slots;
  }

  /** Makes room in a slot as `SlotPool.reserve` does. @returns false where there is none @throws RandloraError `memory` */
  async reserve(slot: Slot, positions: number, most: number): Promise<boolean> {
    while (!this.#pool.hasRoom(slot, positions)) if (!this.#evictOldest()) return false;
    await this.#pool.reserve(slot, positions, most);
    return true;
  }

  /**
   * Copies to a sequence's slot what another one holds of the beginning of its prompt, if it is more.
   * @param running slots of sequences that have not ended
   * @returns how many tokens more it holds now
   */
  async share(sequence: Sequence, slot: Slot, running: readonly Slot[]): Promise<number> {
    const { length } = slot;
    const others = [...this.#idle, ...running].filter((other) => other !== slot);
    const best = this.#beginningOf(sequence, others);
    if (best === undefined || best.length <= length || !this.#pool.hasRoom(slot, best.length)) return 0;
    if (this.#idle.has(best.from)) this.#use(best.from);
    await this.#pool.copy([{ ...best, to: slot }]);
    return best.length - length;
  }

  /** Takes the slots of a sequence that has ended. @param most how many are kept, if they hold something useful */
  keep(slots: readonly Slot[], most: number): void {
    const kept = slots.filter((slot) => slot.kept(this.#useful(slot)) > 0).slice(0, most);
    for (const slot of slots) if (!kept.includes(slot)) this.#pool.release(slot);
    for (const slot of kept) {
      slot.truncate(this.#useful(slot));
      this.#pool.settle(slot);
      this.#idle.add(slot);
    }
    while (this.#idle.size > this.#options.rows) this.#evictOldest();
  }

  /** Gives all of them back. @returns whether there were any */
  clear(): boolean {
    const any = this.#evictOldest();
    while (this.#evictOldest());
    return any;
  }

  /** The slot that holds most of the beginning of a prompt, of those that hold its owner's texts. */
  #beginningOf(sequence: Sequence, slots: Iterable<Slot>): Beginning | undefined {
    const { prompt, options } = sequence;
    const { owner, adapter } = options;
    if (!goesOnFromOthers(sequence)) return undefined;
    const most = (slot: Slot): number => Math.min(this.#useful(slot), prompt.length - 1);
    return [...slots]
      .filter((slot) => slot.owner === owner && slot.adapter === adapter)
      .filter(({ longest }) => this.#config.ropes.every((rope) => sameAngles(rope, longest, prompt.length)))
      .map((from) => ({ from, length: from.kept(commonLength(from.ids, prompt, most(from))) }))
      .filter(({ length }) => length > 0)
      .toSorted((left, right) => right.length - left.length)[0];
  }

  /** Makes one the last to give way. */
  #use(slot: Slot): void {
    this.#idle.delete(slot);
    this.#idle.add(slot);
  }

  /** @returns whether there was one */
  #evictOldest(): boolean {
    const [oldest] = this.#idle;
    if (oldest === undefined) return false;
    this.#idle.delete(oldest);
    this.#pool.release(oldest);
    return true;
  }

  /** Tokens at the beginning of a slot that may be taken for those of another prompt. */
  #useful({ prefilled, length }: Slot): number {
    return this.#options.keepsAnswers === true ? length : prefilled;
  }
}

/** Tokens at the beginning of a sequence's prompt that it can have of another one, when that has been computed. */
export function inCommon(sequence: Sequence, other: Sequence): number {
  const { prompt, options } = sequence;
  const { owner, adapter } = other.options;
  if (!goesOnFromOthers(sequence) || options.owner !== owner || options.adapter !== adapter) return 0;
  return commonLength(prompt, other.prompt, Math.min(prompt.length, other.prompt.length) - 1);
}

/** Whoever asks something about each token has the whole prompt computed. */
function goesOnFromOthers({ options: { promptTop }, takeHidden }: Sequence): boolean {
  return promptTop === undefined && takeHidden === undefined;
}
