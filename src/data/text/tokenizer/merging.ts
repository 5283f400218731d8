import type { MergeQueue } from "./merge-queue.ts";

/** Which pairs of ids are joined, in which order, and to what. */
export interface Merges {
  /** left · base + right → rank. */
  readonly ranks: ReadonlyMap<number, number>;
  readonly base: number;
  /** rank → id of the joined token. */
  readonly joined: Int32Array;
}

/**
 * Joins pairs in one list of ids: the one of lowest rank first, the leftmost of those, until there is none. It can be done
 * in portions, as a long list takes seconds. O(n log n).
 */
export class Merging {
  readonly #symbols: number[];
  readonly #merges: Merges;
  readonly #queue: MergeQueue;
  // A linked list over positions: a joined token lives where its left half was, its right half is marked with -1.
  readonly #previous: Int32Array;
  readonly #next: Int32Array;
  /** Pairs before this place are in the queue. */
  #offered = 0;

  /** @param queue emptied, and used until the merging is done; `symbols` is used up, too */
  constructor(symbols: number[], merges: Merges, queue: MergeQueue) {
    this.#symbols = symbols;
    this.#merges = merges;
    this.#queue = queue;
    queue.clear(symbols.length);
    const count = symbols.length;
    this.#previous = new Int32Array(count);
    this.#next = new Int32Array(count);
    for (let i = 0; i < count; i++) {
      this.#previous[i] = i - 1;
      this.#next[i] = i + 1 < count ? i + 1 : -1;
    }
  }

  /** @param steps pairs to look at, at most. @returns whether all is done */
  advance(steps: number): boolean {
    const symbols = this.#symbols;
    const previous = this.#previous;
    const next = this.#next;
    const queue = this.#queue;
    const { ranks, base, joined } = this.#merges;
    const rankAt = (at: number): number | undefined => {
      const right = symbols[next[at] ?? -1];
      return right === undefined ? undefined : ranks.get((symbols[at] ?? 0) * base + right);
    };
    const offer = (at: number) => {
      const rank = rankAt(at);
      if (rank !== undefined) queue.push(rank, at);
    };
    let left = steps;
    for (; this.#offered + 1 < symbols.length; this.#offered++) {
      if (left-- <= 0) return false;
      offer(this.#offered);
    }
    while (left-- > 0) {
      if (!queue.pop()) return true;
      const { rank, position: at } = queue;
      // Entries are not removed when a neighbor changes; a stale one no longer matches what stands there.
      if (symbols[at] === -1 || rankAt(at) !== rank) continue;
      const right = next[at] ?? -1;
      const after = next[right] ?? -1;
      symbols[at] = joined[rank] ?? -1;
      symbols[right] = -1;
      next[at] = after;
      if (after >= 0) previous[after] = at;
      const before = previous[at] ?? -1;
      if (before >= 0) offer(before);
      offer(at);
    }
    return false;
  }

  /** Appends the ids as they stand. */
  write(out: number[]): void {
    const count = this.#symbols.length;
    for (let i = 0; i >= 0 && i < count; i = this.#next[i] ?? -1) out.push(this.#symbols[i] ?? -1);
  }
}
