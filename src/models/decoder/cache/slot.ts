import { sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import type { LayerCache } from "../../blocks/sight.ts";
import type { AdapterLinears } from "../../blocks/linears.ts";
import type { Past } from "../layers.ts";

/** The matrices of a pool, by layer. */
interface Layers {
  layer(index: number): LayerCache;
}

/** Part of a pool that holds what is kept of one sequence, in consecutive rows. */
export class Slot {
  readonly #pool: Layers;
  /** Its first row in the pool's matrices, and how many it has; the pool's to change, as the next. */
  start = 0;
  capacity = 0;
  /** Positions that it was promised. */
  most: number;
  /** What its keys and values are computed with, beside the weights. */
  readonly adapter: AdapterLinears | undefined;
  readonly #ids: number[] = [];
  #longest = 0;
  #prefilled = 0;

  constructor(pool: Layers, most: number, adapter?: AdapterLinears) {
    this.#pool = pool;
    this.most = most;
    this.adapter = adapter;
  }

  /** The tokens in it. */
  get ids(): readonly number[] {
    return this.#ids;
  }

  get length(): number {
    return this.#ids.length;
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
    if (this.length + ids.length > this.capacity) throw new RangeError("more positions than were reserved");
    if (isPrompt && this.#prefilled === this.length) this.#prefilled += ids.length;
    for (const id of ids) this.#ids.push(id);
    this.#longest = Math.max(this.#longest, sequenceLength);
  }

  /** Forgets all but the first `length` positions. */
  truncate(length: number): void {
    this.#ids.length = Math.min(this.length, length);
    this.#prefilled = Math.min(this.#prefilled, length);
    if (this.length === 0) this.#longest = 0;
  }

  /** Takes over what another slot holds, as far as `length`; the rows have been copied. */
  become(other: Slot, length: number): void {
    const longest = length === 0 ? 0 : other.#longest;
    this.#ids.length = 0;
    for (const id of other.#ids.slice(0, length)) this.#ids.push(id);
    this.#longest = longest;
    this.#prefilled = Math.min(other.#prefilled, length);
  }

  /** What a pass over this sequence alone works on. */
  past(): Past {
    const part = (matrix: Tensor): Tensor => sliceRows(matrix, this.start, this.capacity);
    return {
      length: this.length,
      layer: (index) => {
        const layer = this.#pool.layer(index);
        return "keys" in layer
          ? { keys: part(layer.keys), values: part(layer.values) }
          : { inputs: part(layer.inputs) };
      },
    };
  }

  /** Positions from the first on, up to `length`, that hold the same as another slot's. */
  commonWith(other: Slot, length: number): number {
    if (other.length === 0 || other.#longest !== this.#longest) return 0;
    const most = Math.min(length, other.length);
    let common = 0;
    while (common < most && this.#ids[common] === other.#ids[common]) common++;
    return common;
  }
}
