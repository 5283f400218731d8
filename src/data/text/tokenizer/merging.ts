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

/**
 * A binary heap of (rank, position), smallest first: which pair to join next. Reused, so that it does not allocate. Both
 * stand in one double, rank × positions + position: exact while merges times the piece's length stay below 2^53, as any
 * file's merges (2^24) do with any text (2^29).
 */
export class MergeQueue {
  /** What the last `pop` took out. */
  rank = 0;
  position = 0;
  #keys: number[] = [];
  #positions = 1;

  /** Empties the queue for positions below `positions`. */
  clear(positions: number): void {
    this.#keys.length = 0;
    this.#positions = Math.max(positions, 1);
  }

  push(rank: number, position: number): void {
    const keys = this.#keys;
    const key = rank * this.#positions + position;
    let at = keys.length;
    keys.push(key);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = keys[parent] ?? key;
      if (above <= key) break;
      keys[at] = above;
      at = parent;
    }
    keys[at] = key;
  }

  /** Takes the smallest entry out into `rank` and `position`. @returns false when there is none */
  pop(): boolean {
    const keys = this.#keys;
    const top = keys[0];
    const last = keys.pop();
    if (top === undefined || last === undefined) return false;
    this.rank = Math.floor(top / this.#positions);
    this.position = top % this.#positions;
    if (keys.length > 0) this.#sink(last);
    return true;
  }

  #sink(key: number): void {
    const keys = this.#keys;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let below = keys[child];
      if (below === undefined) break;
      const right = keys[child + 1];
      if (right !== undefined && right < below) {
        below = right;
        child++;
      }
      if (below >= key) break;
      keys[at] = below;
      at = child;
    }
    keys[at] = key;
  }
}
