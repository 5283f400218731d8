import type { Gpu } from "../gpu/gpu.ts";
import { Stream } from "../gpu/stream.ts";
import { type Tensor, tensorBytes, tensorIn } from "../tensor/tensor.ts";
import type { DecoderConfig } from "./config.ts";

/** Positions by which a cache grows at least. */
const GROWTH = 256;

interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/**
 * Keys and values of the tokens so far: per layer two matrices (positions, kv heads · head size) in F32. It grows as
 * it is filled; what it holds is `length` positions.
 */
export class KvCache {
  readonly #gpu: Gpu;
  readonly #width: number;
  #layers: readonly LayerCache[];
  #capacity = 0;
  #length = 0;

  constructor(gpu: Gpu, config: DecoderConfig) {
    this.#gpu = gpu;
    this.#width = config.kvHeads * config.headSize;
    this.#layers = config.layers.map(() => this.#allocate(0));
  }

  /** Positions that are filled. */
  get length(): number {
    return this.#length;
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
    const capacity = Math.ceil(Math.max(positions, this.#capacity * 1.5) / GROWTH) * GROWTH;
    const old = this.#layers;
    const grown = old.map(() => this.#allocate(capacity));
    if (this.#length > 0) {
      const stream = new Stream(this.#gpu);
      const size = tensorBytes([this.#length, this.#width], "F32");
      grown.forEach((layer, index) => {
        const from = old[index];
        if (from === undefined) return;
        stream.copy(from.keys.buffer.buffer, 0, layer.keys.buffer.buffer, 0, size);
        stream.copy(from.values.buffer.buffer, 0, layer.values.buffer.buffer, 0, size);
      });
      stream.submit();
    }
    this.#layers = grown;
    this.#capacity = capacity;
    this.#free(old);
  }

  /** Counts `positions` more as filled; the forward pass that fills them has been recorded. */
  advance(positions: number): void {
    if (this.#length + positions > this.#capacity) throw new RangeError("more positions than were reserved");
    this.#length += positions;
  }

  /** Forgets all but the first `length` positions. */
  truncate(length: number): void {
    this.#length = Math.min(this.#length, Math.max(0, length));
  }

  release(): void {
    this.#free(this.#layers);
    this.#layers = [];
  }

  [Symbol.dispose](): void {
    this.release();
  }

  #allocate(positions: number): LayerCache {
    const matrix = (label: string) => {
      const shape = [positions, this.#width] as const;
      return tensorIn(this.#gpu.memory.allocate(label, tensorBytes(shape, "F32")), shape, "F32");
    };
    return { keys: matrix("keys"), values: matrix("values") };
  }

  #free(layers: readonly LayerCache[]): void {
    for (const { keys, values } of layers) {
      this.#gpu.memory.release(keys.buffer);
      this.#gpu.memory.release(values.buffer);
    }
  }
}
