import type { Device } from "../../../compute/device/device.ts";
import type { KvDtype } from "../../../compute/device/dtype.ts";
import { tensorBytes } from "../../../compute/tensor/tensor.ts";
import { type DecoderConfig, kvWidth } from "../config.ts";
import { allocateLayer, type LayerCache, mostRows, releaseLayer } from "./layer-cache.ts";

/** Positions by which a cache grows at least. */
const GROWTH = 256;

/**
 * Keys and values of one sequence that is computed for its own sake, as likelihoods are: per layer two matrices (positions, kv heads · head size). It grows as it is filled,
 * and knows which tokens it holds.
 */
export class KvCache {
  readonly #gpu: Device;
  readonly #width: number;
  readonly #dtype: KvDtype;
  #layers: readonly LayerCache[];
  #capacity = 0;
  #ids: number[] = [];
  #longest = 0;

  constructor(gpu: Device, config: DecoderConfig, dtype: KvDtype = "F32") {
    this.#gpu = gpu;
    this.#dtype = dtype;
    this.#width = kvWidth(config);
    this.#layers = config.layers.map(() => this.#allocate(0));
  }

  /** Positions that are filled. */
  get length(): number {
    return this.#ids.length;
  }

  /** Positions that there is room for. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Positions that a device's commands can see at once. */
  get most(): number {
    return mostRows(this.#gpu.limits, this.#width, this.#dtype);
  }

  /** The tokens in it. */
  get ids(): readonly number[] {
    return this.#ids;
  }

  /** The longest sequence whose angles turned a key in it; see `sameAngles`. */
  get longest(): number {
    return this.#longest;
  }

  /** Bytes in GPU memory. */
  get bytes(): number {
    return this.#layers.reduce((sum, { keys, values }) => sum + keys.buffer.size + values.buffer.size, 0);
  }

  /** The cache of one layer: all of its capacity. */
  layer(index: number): LayerCache {
    const layer = this.#layers[index];
    if (layer === undefined) throw new RangeError(`layer ${index} of ${this.#layers.length}`);
    return layer;
  }

  /**
   * Makes room for `positions` in all; what is filled stays.
   * @throws RandloraError `memory`
   */
  reserve(positions: number): void {
    if (positions <= this.#capacity) return;
    this.#resize(inSteps(Math.max(positions, this.#capacity * 1.5)));
  }

  /** Counts these tokens as filled; the forward pass over them, by the angles of `sequenceLength`, has been recorded. */
  advance(ids: readonly number[], sequenceLength: number): void {
    if (this.length + ids.length > this.#capacity) throw new RangeError("more positions than were reserved");
    for (const id of ids) this.#ids.push(id);
    this.#longest = Math.max(this.#longest, sequenceLength);
  }

  /** Forgets all but the first `length` positions. */
  truncate(length: number): void {
    this.#ids.length = Math.min(this.length, Math.max(0, length));
    if (this.length === 0) this.#longest = 0;
  }

  release(): void {
    this.#free(this.#layers);
    this.#layers = [];
  }

  [Symbol.dispose](): void {
    this.release();
  }

  /** Moves what is filled to matrices for `capacity` positions. */
  #resize(capacity: number): void {
    const old = this.#layers;
    const moved: LayerCache[] = [];
    try {
      while (moved.length < old.length) moved.push(this.#allocate(capacity));
    } catch (thrown) {
      this.#free(moved);
      throw thrown;
    }
    if (this.length > 0) {
      const size = tensorBytes([this.length, this.#width], this.#dtype);
      const copies = moved.flatMap(({ keys, values }, index) => {
        const from = old[index];
        if (from === undefined) return [];
        return [
          { from: from.keys.buffer, to: keys.buffer, size },
          { from: from.values.buffer, to: values.buffer, size },
        ];
      });
      this.#gpu.copy(copies);
    }
    this.#layers = moved;
    this.#capacity = capacity;
    this.#free(old);
  }

  #allocate(positions: number): LayerCache {
    return allocateLayer(this.#gpu.memory, positions, this.#width, this.#dtype);
  }

  #free(layers: readonly LayerCache[]): void {
    for (const layer of layers) releaseLayer(this.#gpu.memory, layer);
  }
}

function inSteps(positions: number): number {
  return Math.ceil(positions / GROWTH) * GROWTH;
}
