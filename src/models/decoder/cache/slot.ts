import { sliceRows } from "../../../compute/tensor/tensor.ts";
import { BLOCK, type LayerCache, mapKept, type Past, positionsOfRow } from "../../blocks/sight.ts";
import type { AdapterLinears } from "../../blocks/linears.ts";
import { itemAt } from "../../../files/item-at.ts";

/** What a slot needs to know of its pool: groups of layers by what a token sees, and the matrices of each layer. */
interface Pool {
  readonly groups: readonly { readonly window: number }[];
  /** Layers keep states, which can be cut where a block ends. */
  readonly keepsStates: boolean;
  layer(index: number): { readonly matrices: LayerCache; readonly group: number };
}

/** Where a slot is in the matrices of a group of layers; the pool's to change. */
export interface Place {
  /** Its first row, and how many it has. */
  start: number;
  capacity: number;
  /** The position that is in its first row: what no token sees any more may have been given up. */
  first: number;
}

/** Part of a pool that holds what is kept of one sequence, in consecutive rows of each group of layers. */
export class Slot {
  readonly #pool: Pool;
  /** By group. */
  readonly places: readonly Place[];
  /** What its keys and values are computed with, beside the weights. */
  readonly adapter: AdapterLinears | undefined;
  /** Whose texts it holds. */
  readonly owner: string | undefined;
  readonly #ids: number[] = [];
  #longest = 0;
  #prefilled = 0;

  constructor(pool: Pool, adapter?: AdapterLinears, owner?: string) {
    this.#pool = pool;
    this.places = pool.groups.map(() => ({ start: 0, capacity: 0, first: 0 }));
    this.adapter = adapter;
    this.owner = owner;
  }

  /** The tokens in it. */
  get ids(): readonly number[] {
    return this.#ids;
  }

  get length(): number {
    return this.#ids.length;
  }

  /** Positions that it has room for, those that are filled among them. */
  get room(): number {
    return Math.min(...this.places.map(({ first, capacity }) => first + capacity));
  }

  /** The longest sequence whose angles turned a key in it; see `sameAngles`. */
  get longest(): number {
    return this.#longest;
  }

  /** Positions from the first on that passes over prompts filled: to the same bits whoever computes them again. */
  get prefilled(): number {
    return this.#prefilled;
  }

  /** Counts tokens as filled; the pass over them, by the angles of `sequenceLength`, has been recorded. */
  advance(ids: readonly number[], sequenceLength: number, isPrompt: boolean): void {
    const length = this.length + ids.length;
    if (length > this.room) throw new RangeError("more positions than were reserved");
    if (isPrompt && this.#prefilled === this.length) this.#prefilled += ids.length;
    for (const id of ids) this.#ids.push(id);
    this.#longest = Math.max(this.#longest, sequenceLength);
  }

  /** How many of the first `length` positions it can go on from: there is all that tokens behind them see. 0: it can begin anew. */
  kept(length: number): number {
    return this.#kept(Math.min(length, this.length), length >= this.length);
  }

  /** @param isState states are of so many positions */
  #kept(length: number, isState: boolean): number {
    const left = this.#pool.keepsStates && !isState ? length - (length % BLOCK) : length;
    const seen = this.#pool.groups.map(({ window }) => Math.max(0, left + 1 - window));
    return this.places.every(({ first }, group) => first <= itemAt(seen, group)) ? left : 0;
  }

  /** Forgets all but the first `length` positions, or as many of them as it can go on from. */
  truncate(length: number): void {
    this.#cut(this.kept(length));
  }

  /** Says that a pass behind `length` positions failed: nobody knows how far it came. */
  failed(length: number): void {
    this.#cut(this.#kept(Math.min(length, this.length), false));
  }

  #cut(left: number): void {
    this.#ids.length = left;
    this.#prefilled = Math.min(this.#prefilled, left);
    if (left > 0) return;
    this.#longest = 0;
    for (const place of this.places) place.first = 0;
  }

  /** Takes over what another slot holds, as far as `length`; the rows have been copied. */
  become(other: Slot, length: number): void {
    const longest = length === 0 ? 0 : other.#longest;
    this.#ids.length = 0;
    for (const id of other.#ids.slice(0, length)) this.#ids.push(id);
    this.#longest = longest;
    this.#prefilled = Math.min(other.#prefilled, length);
    for (const [group, { first }] of other.places.entries())
      itemAt(this.places, group).first = length === 0 ? 0 : first;
  }

  /** What a pass over this sequence alone works on. */
  past(): Past {
    return {
      layer: (index) => {
        const { matrices, group } = this.#pool.layer(index);
        const { start, capacity, first } = itemAt(this.places, group);
        const unit = positionsOfRow(matrices);
        const own = mapKept(matrices, (matrix) => sliceRows(matrix, start / unit, capacity / unit));
        return { ...own, length: this.length - first };
      },
    };
  }

  /** Positions from the first on, up to `length`, that hold the same as another slot's. */
  commonWith(other: Slot, length: number): number {
    if (other.length === 0 || other.#longest !== this.#longest) return 0;
    return commonLength(this.#ids, other.#ids, Math.min(length, other.length));
  }
}

/** Tokens that two sequences have in common at their beginning, `most` at most. */
export function commonLength(one: readonly number[], other: readonly number[], most: number): number {
  let common = 0;
  while (common < most && one[common] === other[common]) common++;
  return common;
}
