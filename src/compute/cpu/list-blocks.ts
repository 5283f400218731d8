import type { Block, Heaps } from "./heap.ts";
import { MOST_LISTS } from "./layout.ts";

/**
 * Where lists of commands lie. The host writes them at once, so nothing that runs may use their blocks. In the first heap, where small buffers come
 * and go, all holes may be in use while a device is at work, and it would grow with each list: blocks there are kept for the next ones.
 */
export class ListBlocks {
  readonly #heaps: Heaps;
  /** Those of no list, the smallest first. */
  readonly #kept: Block[] = [];

  constructor(heaps: Heaps) {
    this.#heaps = heaps;
    heaps.onFull = () => {
      const isAny = this.#kept.length > 0;
      this.#release(this.#kept.length);
      return isAny;
    };
  }

  /**
   * A block of at least so many bytes that nothing uses.
   * @param latest entries of the queue up to this number have run
   * @throws RandloraError `memory` where there is no room
   */
  take(heap: number, bytes: number, latest: number): Block {
    const index = this.#kept.findIndex((block) => block.heap === heap && block.size >= bytes);
    const [kept] = index < 0 ? [] : this.#kept.splice(index, 1);
    return kept ?? this.#heaps.take("commands", bytes, { heap, latest }).block;
  }

  /** Takes blocks back whose list has run. */
  give(blocks: readonly Block[]): void {
    for (const block of blocks) {
      if (block.heap === 0) this.#keep(block);
      else this.#heaps.give(block, 0);
    }
    this.#release(this.#kept.length - MOST_LISTS);
  }

  #keep(block: Block): void {
    const index = this.#kept.findIndex(({ size }) => size >= block.size);
    this.#kept.splice(index < 0 ? this.#kept.length : index, 0, block);
  }

  /** Gives the smallest ones back to the heaps, so many of them. */
  #release(count: number): void {
    for (const block of this.#kept.splice(0, Math.max(0, count))) this.#heaps.give(block, 0);
  }
}
