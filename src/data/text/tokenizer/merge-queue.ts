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
