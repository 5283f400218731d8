import type { Device } from "../../../compute/device/device.ts";
import type { KvDtype } from "../../../compute/device/dtype.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { asWords, type Tensor } from "../../../compute/tensor/tensor.ts";
import type { DecoderConfig, PlannedLayer } from "../config.ts";
import { allocateLayer, copiesOf, matricesOf, mostRows, releaseLayer } from "./layer-cache.ts";
import type { LayerCache } from "../../blocks/sight.ts";
import type { AdapterLinears } from "../../blocks/linears.ts";
import { Slot } from "./slot.ts";

/**
 * Positions of a block: slots begin at whole ones and grow by them. A multiple of the keys that any kernel of attention
 * takes at once, so that a token's sums are cut as they would be if its slot were the only one.
 */
const BLOCK = 256;
/** Matrices of more than this many times what slots take are made smaller when one begins. */
const MOST_SPARE = 4;
/** Rows that one command copies at most. */
const COPIED_AT_ONCE = 16_384;

/**
 * What is kept of several sequences: for each layer matrices of equally many rows, of which every slot has some consecutive ones. A slot is promised how far it may grow, and takes what it needs; the matrices are as
 * large as what is taken.
 */
export class SlotPool implements Disposable {
  /** Positions of all slots together, as promised, at most. */
  readonly most: number;
  readonly #device: Device;
  readonly #planned: readonly PlannedLayer[];
  readonly #dtype: KvDtype;
  readonly #run: Run;
  readonly #slots = new Set<Slot>();
  /** Under `--memory` all rows are there from the first slot on, and stay. */
  readonly #isWhole: boolean;
  #isTight = false;
  #layers: LayerCache[];
  #rows = 0;
  #version = 0;

  /** @param positions of all slots together at most; fewer where a matrix of so many rows could not be bound */
  constructor(device: Device, config: DecoderConfig, positions: number, dtype: KvDtype = "F32") {
    this.#dtype = dtype;
    this.#device = device;
    this.#planned = config.layers;
    this.#run = new Run(device);
    const bound = mostRows(device.limits, config, dtype);
    this.most = Math.max(BLOCK, Math.min(inBlocks(positions), Math.floor(bound / BLOCK) * BLOCK));
    this.#isWhole = device.memory.limit !== Infinity;
    this.#layers = config.layers.map((layer) => this.#allocate(layer, 0));
  }

  /** Changes when the matrices do: what was recorded on them is void. */
  get version(): number {
    return this.#version;
  }

  /** Bytes in the device's memory. */
  get bytes(): number {
    return this.#layers.flatMap(matricesOf).reduce((sum, { buffer }) => sum + buffer.size, 0);
  }

  /** One layer's matrices. */
  layer(index: number): LayerCache {
    const layer = this.#layers[index];
    if (layer === undefined) throw new RangeError(`layer ${index} of ${this.#layers.length}`);
    return layer;
  }

  /** An empty slot that may grow to `most` positions; undefined where that has been promised to others. */
  acquire(most: number, adapter?: AdapterLinears): Slot | undefined {
    const slot = new Slot(this, 0, adapter);
    if (!this.promise(slot, most)) return undefined;
    this.#slots.add(slot);
    return slot;
  }

  /** Promises a slot that it may grow to `most` positions. @returns false where that has been promised to others */
  promise(slot: Slot, most: number): boolean {
    const wanted = Math.max(slot.capacity, Math.min(inBlocks(most), this.most));
    const others = [...this.#slots].reduce((sum, one) => sum + (one === slot ? 0 : one.most), 0);
    if (others + wanted > this.most) return false;
    slot.most = wanted;
    return true;
  }

  /** Gives a slot back. */
  release(slot: Slot): void {
    if (!this.#slots.delete(slot)) throw new Error("a slot that is not of this pool, or released twice");
  }

  /** Takes back what a slot does not fill: it grows no more. */
  settle(slot: Slot): void {
    slot.capacity = Math.min(slot.capacity, inBlocks(slot.length));
    slot.most = slot.capacity;
  }

  /** The device is full: when room is next made in a slot, the matrices become as small as what slots take. */
  tighten(): void {
    this.#isTight = !this.#isWhole;
  }

  /**
   * Makes room for `positions` in a slot; what is filled stays.
   * @throws RandloraError `memory`; slots hold what they held, or nothing where that has no room either
   */
  async reserve(slot: Slot, positions: number): Promise<void> {
    if (positions > this.most) throw new RangeError("more positions than can be promised");
    if (this.#isTight) await this.#shrink();
    const grown = Math.max(inBlocks(positions), Math.min(inBlocks(slot.capacity * 1.5), slot.most));
    const wanted = positions <= slot.capacity ? slot.capacity : grown;
    const isSpare = !this.#isWhole && this.#rows > MOST_SPARE * this.#taken(slot, wanted);
    if (wanted === slot.capacity && !isSpare) return;
    if (slot.capacity === 0) {
      const start = isSpare ? undefined : this.#gap(wanted);
      if (start !== undefined) Object.assign(slot, { start, capacity: wanted });
      else await this.#layOut(slot, wanted);
    } else if (!isSpare && this.#isFree(slot.start + slot.capacity, slot.start + wanted)) slot.capacity = wanted;
    else await this.#layOut(slot, wanted);
  }

  /**
   * Makes slots hold what others hold, as far as `length`, all at once: beams that change places. Only positions from
   * the first token on that a pair does not have in common are copied.
   * @throws RandloraError `memory`
   */
  async copy(moves: readonly { readonly from: Slot; readonly to: Slot; readonly length: number }[]): Promise<void> {
    for (const { to, length } of moves) await this.reserve(to, length);
    const states = moves.map(({ from, to, length }) => {
      const copy = new Slot(this, 0);
      copy.become(from, length);
      return { from: from.start, to, begin: from.commonWith(to, length), end: length, copy };
    });
    // Position by position in all slots, so that nothing is overwritten before it is read.
    const least = Math.min(...states.map(({ begin }) => begin));
    const most = Math.max(...states.map(({ end }) => end));
    const step = Math.max(1, Math.floor(COPIED_AT_ONCE / moves.length));
    for (let first = least; first < most; first += step) {
      const pairs = states.flatMap(({ from, to, begin, end }) => {
        const start = Math.max(begin, first);
        const count = Math.max(0, Math.min(end, first + step) - start);
        return Array.from({ length: count }, (_, at) => [from + start + at, to.start + start + at] as const);
      });
      if (pairs.length > 0) await this.#copyRows(pairs);
    }
    for (const { to, copy } of states) to.become(copy, copy.length);
  }

  [Symbol.dispose](): void {
    this.#run[Symbol.dispose]();
    for (const layer of this.#layers) releaseLayer(this.#device.memory, layer);
    this.#layers = [];
    this.#slots.clear();
  }

  async #copyRows(pairs: readonly (readonly [from: number, to: number])[]): Promise<void> {
    const run = this.#run;
    const rows = (label: string, side: 0 | 1): Tensor =>
      run.upload(
        label,
        [1, pairs.length],
        Uint32Array.from(pairs, (pair) => pair[side]),
      );
    try {
      const [from, to] = [rows("from", 0), rows("to", 1)];
      for (const matrix of this.#layers.flatMap(matricesOf).map(asWords)) {
        const { y } = run.apply(OPS.rows, { x: matrix, indices: from }, {});
        run.compute("rows", { scatter: true, x: y, indices: to, y: matrix });
        run.release(y);
      }
      await run.submit();
    } catch (thrown) {
      run.discard();
      throw thrown;
    }
  }

  /** The first row from which on `rows` are free. */
  #gap(rows: number): number | undefined {
    const ends = [0, ...Array.from(this.#slots, ({ start, capacity }) => start + capacity)].toSorted((a, b) => a - b);
    return ends.find((start) => this.#isFree(start, start + rows));
  }

  /** Makes matrices small. Where the smaller ones have no room beside the larger, those stay. */
  async #shrink(): Promise<void> {
    const [slot] = this.#slots;
    try {
      if (slot !== undefined && this.#rows > this.#taken(slot, slot.capacity)) await this.#layOut(slot, slot.capacity);
    } catch (thrown) {
      // Nobody goes on behind what is lost.
      if (this.#rows === 0) throw thrown;
    }
    this.#isTight = false;
  }

  /** Rows of all slots, where this one has `capacity`. */
  #taken(slot: Slot, capacity: number): number {
    return [...this.#slots].reduce((sum, one) => sum + (one === slot ? capacity : one.capacity), 0);
  }

  #isFree(first: number, end: number): boolean {
    if (end > this.#rows) return false;
    for (const { start, capacity } of this.#slots) {
      if (capacity > 0 && start < end && start + capacity > first) return false;
    }
    return true;
  }

  /**
   * Moves all slots to new matrices, one after another, where this one has `wanted` rows.
   * @throws RandloraError `memory`; what slots hold is then where it was
   */
  async #layOut(grown: Slot, wanted: number): Promise<void> {
    const capacityOf = (slot: Slot): number => (slot === grown ? wanted : slot.capacity);
    const taken = this.#taken(grown, wanted);
    // Where there are others already, more will come.
    const isFirst = this.#rows === 0 || this.#isTight || this.#rows > MOST_SPARE * taken;
    const more = isFirst ? taken : Math.max(taken, Math.min(inBlocks(taken * 1.5), this.most));
    const rows = this.#isWhole ? this.most : more;
    const before = new Map(Array.from(this.#slots, (slot) => [slot, slot.start]));
    const after = new Map<Slot, number>();
    let next = 0;
    for (const slot of this.#slots) {
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
    for (const [slot, start] of after) Object.assign(slot, { start, capacity: capacityOf(slot) });
    this.#rows = rows;
  }

  /** Moves what slots hold of a layer to new matrices of so many rows. */
  async #move(
    index: number,
    rows: number,
    before: ReadonlyMap<Slot, number>,
    after: ReadonlyMap<Slot, number>,
  ): Promise<void> {
    const old = this.layer(index);
    const planned = this.#planned[index];
    if (planned === undefined) throw new RangeError(`layer ${index} of ${this.#planned.length}`);
    const moved = this.#allocate(planned, rows);
    try {
      await this.#device.memory.confirm(matricesOf(moved).map(({ buffer }) => buffer));
    } catch (thrown) {
      releaseLayer(this.#device.memory, moved);
      throw thrown;
    }
    const ranges = Array.from(before, ([slot, from]) => ({ from, to: after.get(slot) ?? 0, rows: slot.length }));
    this.#device.copy(copiesOf(old, moved, ranges));
    this.#layers[index] = moved;
    releaseLayer(this.#device.memory, old);
  }

  /** Gives up what slots hold. */
  #empty(): void {
    for (const layer of this.#layers) releaseLayer(this.#device.memory, layer);
    this.#layers = this.#planned.map((layer) => this.#allocate(layer, 0));
    this.#rows = 0;
    for (const slot of this.#slots) {
      slot.truncate(0);
      slot.capacity = 0;
    }
  }

  #allocate(layer: PlannedLayer, rows: number): LayerCache {
    return allocateLayer(this.#device.memory, layer, rows, this.#dtype);
  }
}

/** Positions that a slot for so many takes: whole blocks. */
export function inBlocks(positions: number): number {
  return Math.ceil(positions / BLOCK) * BLOCK;
}
