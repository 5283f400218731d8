import type { Device } from "../../../compute/device/device.ts";
import type { KvDtype } from "../../../compute/device/dtype.ts";
import { type Tensor, tensorBytes } from "../../../compute/tensor/tensor.ts";
import { type DecoderConfig, kvWidth } from "../config.ts";
import { allocateLayer, type LayerCache, mostRows, releaseLayer } from "./layer-cache.ts";
import type { Linears } from "../../blocks/linears.ts";
import { sameAngles } from "../../blocks/rope-scaling.ts";

/** Positions by which a cache grows at least. */
const GROWTH = 256;
/** A cache for more than this many times what a sequence needs shrinks before it is computed. */
const MOST_SPARE = 4;

/** A pass over one token that was recorded on a cache's matrices; see `TokenPass`. */
export interface RecordedPass extends Disposable {
  /** Sends it over this token; see `TokenPass.send`. */
  send(id: number, position: number, sequenceLength: number): Promise<Tensor>;
}

/**
 * Keys and values of the tokens so far: per layer two matrices (positions, kv heads · head size). It grows as it is filled,
 * and knows which tokens it holds.
 */
export class KvCache {
  readonly #gpu: Device;
  readonly #width: number;
  readonly #dtype: KvDtype;
  readonly #ropes: DecoderConfig["ropes"];
  #layers: readonly LayerCache[];
  #capacity = 0;
  #ids: number[] = [];
  #longest = 0;
  #tokenPass: { readonly linears: Linears; readonly pass: RecordedPass } | undefined;

  constructor(gpu: Device, config: DecoderConfig, dtype: KvDtype = "F32") {
    this.#gpu = gpu;
    this.#dtype = dtype;
    this.#width = kvWidth(config);
    this.#ropes = config.ropes;
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

  /** The pass over one token, recorded on these matrices with `linears`; `record` where there is none since they changed. */
  tokenPass(linears: Linears, record: () => RecordedPass): RecordedPass {
    if (this.#tokenPass?.linears !== linears) this.#forgetPass();
    return (this.#tokenPass ??= { linears, pass: record() }).pass;
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

  /**
   * Keeps what the cache and a sequence have in common, so that the next turn of a chat computes only what is new; but
   * not all of the sequence, whose last token is needed for what comes next, and no keys that other angles turned. After
   * a much longer sequence its memory is given back.
   * @returns tokens of the sequence that need not be computed
   */
  keepCommon(ids: readonly number[]): number {
    if (!this.#ropes.every((rope) => sameAngles(rope, this.#longest, ids.length))) this.truncate(0);
    const most = Math.min(this.length, ids.length - 1);
    let common = 0;
    while (common < most && this.#ids[common] === ids[common]) common++;
    this.truncate(common);
    const needed = inSteps(ids.length);
    // What `--memory` allows was taken at the beginning, so that nothing exists twice while it grows.
    if (this.#gpu.memory.limit === Infinity && this.#capacity > MOST_SPARE * needed) this.#resize(needed);
    return common;
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

  #forgetPass(): void {
    this.#tokenPass?.pass[Symbol.dispose]();
    this.#tokenPass = undefined;
  }

  /** Frees these matrices, and what was recorded on them. */
  #free(layers: readonly LayerCache[]): void {
    this.#forgetPass();
    for (const layer of layers) releaseLayer(this.#gpu.memory, layer);
  }
}

function inSteps(positions: number): number {
  return Math.ceil(positions / GROWTH) * GROWTH;
}
