import type { Block, Heaps } from "./heap.ts";
import { MOST_LISTS, SPARE } from "./layout.ts";

/** Where lists of commands lie. */
export interface ListRoom {
  /**
   * A block of at least so many bytes that nothing uses; undefined where there is none.
   * @param latest entries of the queue up to this number have run
   */
  take(heap: number, bytes: number, latest: number): Block | undefined;
  /** Takes blocks back whose list has run. */
  give(blocks: readonly Block[]): void;
}

/**
 * The host writes lists at once, so nothing that runs may use their blocks. In the first heap, where small buffers come and go, all holes may be
 * in use while a device is at work, and it would grow with each list: blocks there are kept for the next ones. In the others they would part what
 * large buffers need.
 */
export class ListBlocks implements ListRoom {
  readonly #heaps: Heaps;
  /** Those of no list, the smallest first. */
  readonly #kept: Block[] = [];

  constructor(heaps: Heaps) {
    this.#heaps = heaps;
    heaps.onFull = () => {
      const all = this.#kept.splice(0);
      for (const block of all) heaps.give(block, 0);
      return all.length > 0;
    };
  }

  take(heap: number, bytes: number, latest: number): Block | undefined {
    const index = heap === 0 ? this.#kept.findIndex(({ size }) => size >= bytes) : -1;
    const [kept] = index < 0 ? [] : this.#kept.splice(index, 1);
    return kept ?? this.#heaps.tryTake(bytes, { heap, latest })?.block;
  }

  give(blocks: readonly Block[]): void {
    for (const block of blocks) {
      const index = this.#kept.findIndex(({ size }) => size >= block.size);
      if (block.heap === 0) this.#kept.splice(index < 0 ? this.#kept.length : index, 0, block);
      else this.#heaps.give(block, 0);
    }
    for (const least of this.#kept.splice(0, this.#kept.length - MOST_LISTS)) this.#heaps.give(least, 0);
  }
}

/** What each heap has for the one list that runs where there is no other room. */
export const SPARE_ROOM: ListRoom = {
  take: (heap, bytes) => (bytes > SPARE.bytes ? undefined : { heap, at: SPARE.at, size: SPARE.bytes }),
  give: () => undefined,
};
