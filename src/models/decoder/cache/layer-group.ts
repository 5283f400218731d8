import type { Copy, Device } from "../../../compute/device/device.ts";
import type { KvDtype } from "../../../compute/device/dtype.ts";
import { itemAt } from "../../../files/item-at.ts";
import { tensorBytes } from "../../../compute/tensor/tensor.ts";
import { BLOCK, type LayerCache, matricesOf, positionsOfRow } from "../../blocks/sight.ts";
import type { PlannedLayer } from "../config.ts";
import { allocateLayer, inBlocks, mostRows, rowsKept, rowsShared } from "./layer-cache.ts";
import type { Place, Slot } from "./slot.ts";

/** Matrices of more than this many times what slots take are made smaller when one begins. */
const MOST_SPARE = 4;

/** Rows that move to other matrices: filled ones of a slot. */
interface RowRange {
  readonly from: number;
  readonly to: number;
  readonly rows: number;
}

/** What a group of layers goes by. */
export interface GroupOptions {
  readonly device: Device;
  readonly dtype: KvDtype;
  /** Positions of all slots together at most; fewer where a matrix of so many rows could not be bound. */
  readonly positions: number;
  /** Slots that are in use at once: as many more are kept at most. */
  readonly sequences: number;
  /** All rows are there from the first slot on, and stay; by default, where memory has a limit. */
  readonly isWhole?: boolean | undefined;
  /** Those of the pool. */
  readonly used: ReadonlySet<Slot>;
}

/**
 * The layers whose tokens see equally many positions: matrices of equally many rows, of which every slot has some consecutive ones, its
 * place. The matrices are as large as what is taken.
 */
export class LayerGroup implements Disposable {
  /** Positions that a token sees, its own included. */
  readonly window: number;
  /** Rows of all slots together at most. */
  readonly most: number;
  readonly #number: number;
  readonly #planned: readonly PlannedLayer[];
  readonly #options: GroupOptions;
  readonly #isWhole: boolean;
  #isTight = false;
  #layers: LayerCache[];
  #rows = 0;
  #version = 0;

  /** @param number which of a slot's places are in this one */
  constructor(number: number, window: number, planned: readonly PlannedLayer[], options: GroupOptions) {
    const { device, dtype, positions, sequences, isWhole = device.memory.limit !== Infinity } = options;
    this.#number = number;
    this.window = window;
    this.#planned = planned;
    this.#options = options;
    const bound = Math.floor(mostRows(device.limits, planned, dtype) / BLOCK) * BLOCK;
    this.most = Math.max(BLOCK, Math.min(rowsShared(window, inBlocks(positions), sequences), bound));
    this.#isWhole = isWhole;
    this.#layers = planned.map((layer) => this.#allocate(layer, 0));
  }

  /** Changes when the matrices do: what was recorded on them is void. */
  get version(): number {
    return this.#version;
  }

  /** One matrix or two of each layer. */
  get layers(): readonly LayerCache[] {
    return this.#layers;
  }

  /** Is there room for a slot of so many positions, beside what others take? */
  hasRoom(slot: Slot, positions: number): boolean {
    const rows = this.#rowsFor(positions);
    return rows <= this.#placeOf(slot).capacity || this.#taken(slot, rows) <= this.most;
  }

  /** Positions that each of so many slots can have at once. */
  mostOf(slots: number): number {
    const rows = Math.floor(this.most / slots / BLOCK) * BLOCK;
    return rows >= this.#rowsFor(Infinity) ? Infinity : rows;
  }

  /** Makes matrices as small as what slots take when room is next made. */
  tighten(): void {
    this.#isTight = true;
  }

  /**
   * Makes room for a slot of so many positions, which `hasRoom` says there is.
   * @param most see `SlotPool.reserve`
   * @throws RandloraError `memory`; slots hold what they held, or nothing where that has no room either
   */
  async reserve(slot: Slot, positions: number, most: number): Promise<void> {
    const place = this.#placeOf(slot);
    const rows = this.#rowsFor(positions);
    const more = Math.min(inBlocks(place.capacity * 1.5), this.#rowsFor(most), this.most - this.#taken(slot, 0));
    const wanted = rows <= place.capacity ? place.capacity : Math.max(rows, more);
    if (this.#isSpare(slot, wanted)) {
      try {
        return await this.#layOut(slot, wanted);
      } catch (thrown) {
        // Where the smaller ones have no room beside the larger, those stay; but nobody goes on behind what is lost.
        if (this.#rows === 0) throw thrown;
      } finally {
        this.#isTight = false;
      }
    }
    if (wanted === place.capacity) return;
    const start =
      place.capacity === 0
        ? this.#gap(wanted)
        : this.#isFree(place.start + place.capacity, place.start + wanted)
          ? place.start
          : undefined;
    if (start === undefined) await this.#layOut(slot, wanted);
    else Object.assign(place, { start, capacity: wanted });
  }

  [Symbol.dispose](): void {
    for (const layer of this.#layers) this.#release(layer);
    this.#layers = [];
  }

  /** Rows that a slot of so many positions has. */
  #rowsFor(positions: number): number {
    return rowsKept(this.window, positions);
  }

  #placeOf(slot: Slot): Place {
    return itemAt(slot.places, this.#number);
  }

  get #places(): readonly Place[] {
    return Array.from(this.#options.used, (slot) => this.#placeOf(slot));
  }

  /** The first row from which on `rows` are free. */
  #gap(rows: number): number | undefined {
    const ends = [0, ...this.#places.map(({ start, capacity }) => start + capacity)].toSorted((a, b) => a - b);
    return ends.find((start) => this.#isFree(start, start + rows));
  }

  /** Are matrices so much larger than what slots take, where this one has `capacity`, that they are to become as small? */
  #isSpare(slot: Slot, capacity: number): boolean {
    return !this.#isWhole && this.#rows > (this.#isTight ? 1 : MOST_SPARE) * this.#taken(slot, capacity);
  }

  /** Rows of all slots, where this one has `capacity`. */
  #taken(slot: Slot, capacity: number): number {
    const own = this.#placeOf(slot);
    return this.#places.reduce((sum, place) => sum + (place === own ? capacity : place.capacity), 0);
  }

  #isFree(first: number, end: number): boolean {
    const isTaken = ({ start, capacity }: Place): boolean => capacity > 0 && start < end && start + capacity > first;
    return end <= this.#rows && !this.#places.some(isTaken);
  }

  /**
   * Moves all slots to new matrices, one after another, where this one has `wanted` rows.
   * @throws RandloraError `memory`; what slots hold is then where it was
   */
  async #layOut(grown: Slot, wanted: number): Promise<void> {
    const { used } = this.#options;
    const capacityOf = (slot: Slot): number => (slot === grown ? wanted : this.#placeOf(slot).capacity);
    const taken = this.#taken(grown, wanted);
    // Where there are others already, more will come.
    const isFirst = this.#rows === 0 || this.#isSpare(grown, wanted);
    const more = isFirst ? taken : Math.max(taken, Math.min(inBlocks(taken * 1.5), this.most));
    const rows = this.#isWhole ? this.most : more;
    let next = 0;
    const moves = Array.from(used, (slot) => {
      const { start: from, first } = this.#placeOf(slot);
      const to = next;
      next += capacityOf(slot);
      return { slot, from, to, rows: slot.length - first };
    });
    this.#version += 1;
    let moved = 0;
    try {
      // A layer at a time: the memory of one exists twice, not that of all.
      for (; moved < this.#layers.length; moved++) await this.#move(moved, rows, moves);
    } catch (thrown) {
      // The layers that have moved go back, into what they left: others' texts go on.
      const back = moves.map((move) => ({ ...move, from: move.to, to: move.from }));
      try {
        while (moved > 0) await this.#move(--moved, this.#rows, back);
      } catch {
        this.#empty();
      }
      throw thrown;
    }
    for (const { slot, to } of moves) Object.assign(this.#placeOf(slot), { start: to, capacity: capacityOf(slot) });
    this.#rows = rows;
  }

  /** Moves what slots hold of a layer to new matrices of so many rows. */
  async #move(index: number, rows: number, ranges: readonly RowRange[]): Promise<void> {
    const { device } = this.#options;
    const old = itemAt(this.#layers, index);
    const moved = this.#allocate(itemAt(this.#planned, index), rows);
    try {
      await device.memory.confirm(matricesOf(moved).map(({ buffer }) => buffer));
      device.copy(copiesOf(old, moved, ranges));
    } catch (thrown) {
      this.#release(moved);
      throw thrown;
    }
    this.#layers[index] = moved;
    this.#release(old);
  }

  /** Gives up what slots hold. */
  #empty(): void {
    this[Symbol.dispose]();
    this.#layers = this.#planned.map((layer) => this.#allocate(layer, 0));
    this.#rows = 0;
    for (const slot of this.#options.used) {
      slot.truncate(0);
      this.#placeOf(slot).capacity = 0;
    }
  }

  #allocate(layer: PlannedLayer, rows: number): LayerCache {
    const { device, dtype } = this.#options;
    return allocateLayer(device.memory, layer, rows, dtype);
  }

  #release(layer: LayerCache): void {
    for (const { buffer } of matricesOf(layer)) this.#options.device.memory.release(buffer);
  }
}

/** Copies of these rows, from each of a layer's matrices to the same of another cache. */
function copiesOf(from: LayerCache, to: LayerCache, ranges: readonly RowRange[]): readonly Copy[] {
  const targets = matricesOf(to);
  const unit = positionsOfRow(from);
  return matricesOf(from).flatMap(({ buffer, shape, dtype }, at) => {
    const bytes = tensorBytes([1, shape[1]], dtype);
    return ranges
      .filter(({ rows }) => rows > 0)
      .map((range) => ({
        from: buffer,
        to: itemAt(targets, at).buffer,
        fromOffset: (range.from / unit) * bytes,
        toOffset: (range.to / unit) * bytes,
        size: Math.ceil(range.rows / unit) * bytes,
      }));
  });
}
