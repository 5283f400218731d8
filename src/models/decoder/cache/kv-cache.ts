import type { Device } from "../../../compute/device/device.ts";
import type { KvDtype } from "../../../compute/device/dtype.ts";
import { tensorBytes } from "../../../compute/tensor/tensor.ts";
import type { DecoderConfig } from "../config.ts";
import { allocateLayer, matricesOf, releaseLayer } from "./layer-cache.ts";
import type { Filled, LayerCache } from "../../blocks/sight.ts";

/** Positions by which a cache grows at least. */
const GROWTH = 256;

/**
 * What is kept of one sequence that is computed for its own sake, as likelihoods are: the matrices of each layer. It grows as it is
 * filled, and knows which tokens it holds.
 */
export class KvCache {
  readonly #gpu: Device;
  readonly #config: DecoderConfig;
  readonly #dtype: KvDtype;
  #layers: readonly LayerCache[];
  #capacity = 0;
  #ids: number[] = [];
  #longest = 0;

  constructor(gpu: Device, config: DecoderConfig, dtype: KvDtype = "F32") {
    this.#gpu = gpu;
    this.#dtype = dtype;
    this.#config = config;
    this.#layers = this.#allocate(0);
  }

  /** Positions that are filled. */
  get length(): number {
    return this.#ids.length;
  }

  /** Positions that there is room for. */
  get capacity(): number {
    return this.#capacity;
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
    return this.#layers.flatMap(matricesOf).reduce((sum, { buffer }) => sum + buffer.size, 0);
  }

  /** The cache of one layer: all of its capacity. */
  layer(index: number): Filled {
    const layer = this.#layers[index];
    if (layer === undefined) throw new RangeError(`layer ${index} of ${this.#layers.length}`);
    return { ...layer, length: this.length };
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
    const moved = this.#allocate(capacity);
    if (this.length > 0) {
      const targets = moved.flatMap(matricesOf);
      const copies = old.flatMap(matricesOf).flatMap(({ buffer: from, shape, dtype }, index) => {
        const to = targets[index]?.buffer;
        return to === undefined ? [] : [{ from, to, size: tensorBytes([this.length, shape[1]], dtype) }];
      });
      this.#gpu.copy(copies);
    }
    this.#layers = moved;
    this.#capacity = capacity;
    this.#free(old);
  }

  /** Matrices of all layers, or none. */
  #allocate(positions: number): LayerCache[] {
    const layers: LayerCache[] = [];
    try {
      for (const layer of this.#config.layers) {
        layers.push(allocateLayer(this.#gpu.memory, layer, positions, this.#dtype));
      }
    } catch (thrown) {
      this.#free(layers);
      throw thrown;
    }
    return layers;
  }

  #free(layers: readonly LayerCache[]): void {
    for (const layer of layers) releaseLayer(this.#gpu.memory, layer);
  }
}

function inSteps(positions: number): number {
  return Math.ceil(positions / GROWTH) * GROWTH;
}
