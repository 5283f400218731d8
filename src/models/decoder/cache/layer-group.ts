import type { Device } from "../../../compute/device/device.ts";
import type { KvDtype } from "../../../compute/device/dtype.ts";
import type { LayerCache } from "../../blocks/sight.ts";
import type { PlannedLayer } from "../config.ts";
import {
  allocateLayer,
  BLOCK,
  copiesOf,
  inBlocks,
  matricesOf,
  mostRows,
  releaseLayer,
  rowsKept,
  rowsShared,
} from "./layer-cache.ts";
import type { Place, Slot } from "./slot.ts";

/** Matrices of more than this many times what slots take are made smaller when one begins. */
const MOST_SPARE = 4;

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
    this.#layers = this.#allocateAll(0);
  }

  /** Changes when the matrices do: what was recorded on them is void. */
  get version(): number {
    return this.#version;
  }

  /** One matrix or two of each layer. */
  get layers(): readonly LayerCache[] {
    return this.#layers;
  }

  /** Is there room for a slot of so many positions, beside what others were promised? */
  hasRoom(slot: Slot, positions: number): boolean {
    const { used } = this.#options;
    const rows = (one: Slot, most: number) => Math.max(this.#placeOf(one).capacity, this.#rowsFor(most));
    const others = Array.from(used, (one) => (one === slot ? 0 : rows(one, one.most)));
    return others.reduce((sum, taken) => sum + taken, rows(slot, positions)) <= this.most;
  }

  /** Positions that each of so many slots can have at once. */
  mostOf(slots: number): number {
    const rows = Math.floor(this.most / slots / BLOCK) * BLOCK;
    return rows >= this.#rowsFor(Infinity) ? Infinity : rows;
  }

  /** Makes matrices as small as what slots take when room is next made. */
  tighten(): void {
    this.#isTight = !this.#isWhole;
  }

  /**
   * Makes room for a slot of so many positions.
   * @throws RandloraError `memory`; slots hold what they held, or nothing where that has no room either
   */
  async reserve(slot: Slot, positions: number): Promise<void> {
    if (this.#isTight) await this.#shrink();
    const place = this.#placeOf(slot);
    const rows = this.#rowsFor(positions);
    const grown = Math.max(rows, Math.min(inBlocks(place.capacity * 1.5), this.#rowsFor(slot.most)));
    const wanted = rows <= place.capacity ? place.capacity : grown;
    const isSpare = !this.#isWhole && this.#rows > MOST_SPARE * this.#taken(slot, wanted);
    if (wanted === place.capacity && !isSpare) return;
    if (place.capacity === 0) {
      const start = isSpare ? undefined : this.#gap(wanted);
      if (start !== undefined) Object.assign(place, { start, capacity: wanted });
      else await this.#layOut(slot, wanted);
    } else if (!isSpare && this.#isFree(place.start + place.capacity, place.start + wanted)) place.capacity = wanted;
    else await this.#layOut(slot, wanted);
  }

  [Symbol.dispose](): void {
    for (const layer of this.#layers) releaseLayer(this.#options.device.memory, layer);
    this.#layers = [];
  }

  /** Rows that a slot of so many positions has. */
  #rowsFor(positions: number): number {
    return rowsKept(this.window, positions);
  }

  #placeOf(slot: Slot): Place {
    const place = slot.places[this.#number];
    if (place === undefined) throw new RangeError("a slot without a place");
    return place;
  }

  get #places(): readonly Place[] {
    return Array.from(this.#options.used, (slot) => this.#placeOf(slot));
  }

  /** The first row from which on `rows` are free. */
  #gap(rows: number): number | undefined {
    const ends = [0, ...this.#places.map(({ start, capacity }) => start + capacity)].toSorted((a, b) => a - b);
    return ends.find((start) => this.#isFree(start, start + rows));
  }

  /** Makes matrices small. Where the smaller ones have no room beside the larger, those stay. */
  async #shrink(): Promise<void> {
    const [slot] = this.#options.used;
    try {
      if (slot !== undefined) {
        const { capacity } = this.#placeOf(slot);
        if (this.#rows > this.#taken(slot, capacity)) await this.#layOut(slot, capacity);
      }
    } catch (thrown) {
      // Nobody goes on behind what is lost.
      if (this.#rows === 0) throw thrown;
    }
    this.#isTight = false;
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
    const isFirst = this.#rows === 0 || this.#isTight || this.#rows > MOST_SPARE * taken;
    const more = isFirst ? taken : Math.max(taken, Math.min(inBlocks(taken * 1.5), this.most));
    const rows = this.#isWhole ? this.most : more;
    const before = new Map(Array.from(used, (slot) => [slot, this.#placeOf(slot).start]));
    const after = new Map<Slot, number>();
    let next = 0;
    for (const slot of used) {
      after.set(slot, next);
      next += capacityOf(slot);
    }
    this.#version += 1;
    let moved = 0;
    try {
      // A layer at a time: the memory of one exists twice, not that of all.
      for (; moved < this.#layers.length; moved++) await this.#move(moved, rows, before, after);
    } catch (thrown) {
      // The layers that have moved go back, into what they left: others' texts go on.
      try {
        while (moved > 0) await this.#move(--moved, this.#rows, after, before);
      } catch {
        this.#empty();
      }
      throw thrown;
    }
    for (const [slot, start] of after) Object.assign(this.#placeOf(slot), { start, capacity: capacityOf(slot) });
    this.#rows = rows;
  }

  /** Moves what slots hold of a layer to new matrices of so many rows. */
  async #move(
    index: number,
    rows: number,
    before: ReadonlyMap<Slot, number>,
    after: ReadonlyMap<Slot, number>,
  ): Promise<void> {
    const { device } = this.#options;
    const [old, planned] = [this.#layers[index], this.#planned[index]];
    if (old === undefined || planned === undefined) throw new RangeError(`layer ${index} of ${this.#planned.length}`);
    const moved = this.#allocate(planned, rows);
    const ranges = Array.from(before, ([slot, from]) => {
      return { from, to: after.get(slot) ?? 0, rows: slot.length - this.#placeOf(slot).first };
    });
    try {
      await device.memory.confirm(matricesOf(moved).map(({ buffer }) => buffer));
      device.copy(copiesOf(old, moved, ranges));
    } catch (thrown) {
      releaseLayer(device.memory, moved);
      throw thrown;
    }
    this.#layers[index] = moved;
    releaseLayer(device.memory, old);
  }

  /** Gives up what slots hold. */
  #empty(): void {
    this[Symbol.dispose]();
    this.#layers = this.#allocateAll(0);
    this.#rows = 0;
    for (const slot of this.#options.used) {
      slot.truncate(0);
      this.#placeOf(slot).capacity = 0;
    }
  }

  #allocateAll(rows: number): LayerCache[] {
    return this.#planned.map((layer) => this.#allocate(layer, rows));
  }

  #allocate(layer: PlannedLayer, rows: number): LayerCache {
    const { device, dtype } = this.#options;
    return allocateLayer(device.memory, layer, rows, dtype);
  }
}
