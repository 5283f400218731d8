import type { Device } from "../../../compute/device/device.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { itemAt } from "../../../files/item-at.ts";
import { BLOCK, type LayerCache, matricesOf } from "../../blocks/sight.ts";
import type { AdapterLinears } from "../../blocks/linears.ts";
import { type DecoderConfig, keysOf } from "../config.ts";
import { COPIED_AT_ONCE, copyRows, inBlocks, keepsStates, rowsFrom, windowOf } from "./layer-cache.ts";
import { type GroupOptions, LayerGroup } from "./layer-group.ts";
import { type Place, Slot } from "./slot.ts";
import type { KvDtype } from "../../../compute/device/dtype.ts";
import { RandloraError } from "../../../files/errors.ts";

export type PoolOptions = Omit<GroupOptions, "device" | "used">;

/** What a slot is to hold of another one. */
export interface Move {
  readonly from: Slot;
  readonly to: Slot;
  readonly length: number;
}

/**
 * What is kept of several sequences, by groups of layers that see equally far back. A slot has the rows that it needs and a little more.
 */
export class SlotPool implements Disposable {
  readonly groups: readonly LayerGroup[];
  /** Layers keep states, which can be cut where a block ends. */
  readonly keepsStates: boolean;
  readonly #run: Run;
  readonly #slots = new Set<Slot>();
  readonly #positions: number;
  /** Of each layer its group, and its number there; of one that attends with the keys of another those of that one. */
  readonly #layers: readonly { readonly group: number; readonly at: number }[];

  constructor(device: Device, { layers }: Pick<DecoderConfig, "layers">, options: PoolOptions) {
    this.#run = new Run(device);
    this.keepsStates = keepsStates(layers);
    this.#positions = Math.max(BLOCK, inBlocks(options.positions));
    const keeping = layers.filter((layer) => keysOf(layer) === undefined);
    const seeing = [...Map.groupBy(keeping, windowOf)];
    const shared = { ...options, device, used: this.#slots };
    this.groups = seeing.map(([window, some], number) => new LayerGroup(number, window, some, shared));
    const places = new Map(
      seeing.flatMap(([, some], group) => some.map((layer, at) => [layer, { group, at }] as const)),
    );
    this.#layers = layers.map((layer, index) => {
      const place = places.get(itemAt(layers, keysOf(layer) ?? index));
      if (place === undefined) throw new RangeError(`layer ${index} attends with keys that no layer keeps`);
      return place;
    });
  }

  /** Positions that each of so many slots can have at once. */
  mostOf(slots: number): number {
    const each = Math.floor(this.#positions / slots / BLOCK) * BLOCK;
    return Math.min(each, ...this.groups.map((group) => group.mostOf(slots)));
  }

  /** Changes when matrices do: what was recorded on them is void. */
  get version(): number {
    return this.groups.reduce((sum, { version }) => sum + version, 0);
  }

  /** Bytes in the device's memory. */
  get bytes(): number {
    const matrices = this.groups.flatMap(({ layers }) => layers.flatMap(matricesOf));
    return matrices.reduce((sum, { buffer }) => sum + buffer.size, 0);
  }

  /** One layer's matrices, and the number of its group. */
  layer(index: number): { readonly matrices: LayerCache; readonly group: number } {
    const { group, at } = itemAt(this.#layers, index);
    return { matrices: itemAt(itemAt(this.groups, group).layers, at), group };
  }

  /** An empty slot. */
  acquire(adapter?: AdapterLinears, owner?: string): Slot {
    const slot = new Slot(this, adapter, owner);
    this.#slots.add(slot);
    return slot;
  }

  /** Is there room for so many positions in a slot, beside what others take? */
  hasRoom(slot: Slot, positions: number): boolean {
    return positions <= this.mostOf(1) && this.groups.every((group) => group.hasRoom(slot, positions));
  }

  /** Gives a slot back. */
  release(slot: Slot): void {
    if (!this.#slots.delete(slot)) throw new Error("a slot that is not of this pool, or released twice");
  }

  /** Takes back what a slot does not fill. */
  settle(slot: Slot): void {
    for (const place of slot.places) place.capacity = Math.min(place.capacity, inBlocks(slot.length - place.first));
  }

  /** The device is full: when room is next made in a slot, the matrices become as small as what slots take. */
  tighten(): void {
    for (const group of this.groups) group.tighten();
  }

  /**
   * Makes room for `positions` in a slot; what is filled stays, but for positions that no token behind sees where a layer's window has
   * passed them and there is no room.
   * @param most positions that may soon be filled: a slot that grows has room for half more than it had, up to these, where others leave it
   * @throws RangeError where `hasRoom` says no
   * @throws RandloraError `memory`; slots hold what they held, or nothing where that has no room either
   */
  async reserve(slot: Slot, positions: number, most = positions): Promise<void> {
    if (!this.hasRoom(slot, positions)) throw new RangeError("more positions than there is room for");
    for (const [number, group] of this.groups.entries()) {
      await group.reserve(slot, positions, most);
      await this.#slide(slot, itemAt(slot.places, number), group, positions);
    }
  }

  /**
   * Makes slots hold what others hold, as far as `length`, which these can go on from, all at once: beams that change places. Only rows from the first on that a pair
   * does not have in common are copied.
   * @throws RandloraError `memory`; slots that were to hold others' rows then hold nothing: some rows may have come
   */
  async copy(moves: readonly Move[]): Promise<void> {
    try {
      await this.#copy(moves);
    } catch (thrown) {
      for (const { to } of moves) to.truncate(0);
      throw thrown;
    }
  }

  [Symbol.dispose](): void {
    this.#run[Symbol.dispose]();
    for (const group of this.groups) group[Symbol.dispose]();
    this.#slots.clear();
  }

  async #copy(moves: readonly Move[]): Promise<void> {
    for (const { from, to, length } of moves) {
      if (from.kept(length) !== Math.min(length, from.length)) throw new RangeError("positions that are not kept");
      await this.reserve(to, length);
    }
    const states = moves.map(({ from, to, length }) => {
      const copy = new Slot(this);
      copy.become(from, length);
      return { from, to, copy, common: from.commonWith(to, length) };
    });
    const ranges = this.groups.map((_, group) =>
      states.map(({ from, to, copy, common }) => {
        const [source, target] = [itemAt(from.places, group), itemAt(to.places, group)];
        const shared = source.first === target.first ? Math.max(0, common - source.first) : 0;
        const end = copy.length - source.first;
        // What is behind positions in common may have gone on: the last state is copied in any case.
        const begin = this.keepsStates ? Math.max(0, Math.min(shared, end - 1)) : shared;
        return { from: source.start, to: target.start, begin, end };
      }),
    );
    // Row by row in all slots, so that nothing is overwritten before it is read.
    // In whole blocks, of which a state is a row.
    const least = Math.floor(Math.min(...ranges.flat().map(({ begin }) => begin)) / BLOCK) * BLOCK;
    const most = Math.max(...ranges.flat().map(({ end }) => end));
    const step = Math.max(BLOCK, Math.floor(COPIED_AT_ONCE / moves.length / BLOCK) * BLOCK);
    for (let first = least; first < most; first += step) {
      const copies = this.groups.map(({ layers }, group) => {
        const rows = itemAt(ranges, group).flatMap(({ from, to, begin, end }) => {
          const start = Math.max(begin, first);
          return rowsFrom(from + start, to + start, Math.min(end, first + step) - start);
        });
        return [layers, rows] as const;
      });
      await copyRows(this.#run, copies);
    }
    for (const { to, copy } of states) to.become(copy, copy.length);
  }

  /** Where a place has no room for `positions`, gives up those at its beginning that no token behind sees, in whole blocks. */
  async #slide(slot: Slot, place: Place, { window, layers }: LayerGroup, positions: number): Promise<void> {
    const fits = (first: number): boolean => positions - first <= place.capacity;
    if (fits(place.first)) return;
    const seenFrom = (length: number): number =>
      Math.max(place.first, Math.floor((length + 1 - window) / BLOCK) * BLOCK);
    // What the end of the prompt sees stays where there is room: another prompt may go on from there, or from the state before it.
    const ofPrompt = seenFrom(this.keepsStates ? Math.floor(slot.prefilled / BLOCK) * BLOCK : slot.prefilled);
    const first = fits(ofPrompt) ? ofPrompt : seenFrom(slot.length);
    const dropped = first - place.first;
    if (dropped === 0) return;
    const count = slot.length - first;
    try {
      for (let row = 0; row < count; row += COPIED_AT_ONCE) {
        const to = place.start + row;
        const rows = rowsFrom(to + dropped, to, Math.min(COPIED_AT_ONCE, count - row));
        await copyRows(this.#run, [[layers, rows]]);
      }
    } catch (thrown) {
      // Some rows may have been copied onto others.
      slot.truncate(0);
      throw thrown;
    }
    place.first = first;
  }
}

/** Positions that no sequence has. */
const MOST = 2 ** 31;

/** One sequence that is computed for its own sake, as likelihoods are: the only slot of a pool, which grows as it is filled. */
export class KvCache implements Disposable {
  readonly slot: Slot;
  readonly #pool: SlotPool;

  constructor(device: Device, config: DecoderConfig, dtype: KvDtype = "F32") {
    this.#pool = new SlotPool(device, config, { positions: MOST, sequences: 1, dtype, isWhole: false });
    this.slot = this.#pool.acquire();
  }

  /** Positions that are filled. */
  get length(): number {
    return this.slot.length;
  }

  /** Bytes in the device's memory. */
  get bytes(): number {
    return this.#pool.bytes;
  }

  /**
   * Makes room for `positions` in all; see `SlotPool`.
   * @throws RandloraError `memory`
   */
  async reserve(positions: number): Promise<void> {
    const most = this.#pool.mostOf(1);
    if (positions > most) {
      const message = `keys and values of ${positions} tokens: this device binds those of ${most} at once`;
      throw new RandloraError("memory", message, "take fewer tokens at once (--context)");
    }
    await this.#pool.reserve(this.slot, positions, MOST);
  }

  [Symbol.dispose](): void {
    this.#pool[Symbol.dispose]();
  }
}
