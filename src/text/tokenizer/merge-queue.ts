/** Room for positions below the rank in one double: ranks stay below 2^21, positions below 2^32. */
const POSITIONS = 2 ** 32;

/** A binary heap of (rank, position), smallest first: which pair to join next. Reused, so that it does not allocate. */
export class MergeQueue {
  /** What the last `pop` took out. */
  rank = 0;
  position = 0;
  #keys: number[] = [];

  clear(): void {
    this.#keys.length = 0;
  }

  push(rank: number, position: number): void {
    const keys = this.#keys;
    const key = rank * POSITIONS + position;
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
    this.rank = Math.floor(top / POSITIONS);
    this.position = top % POSITIONS;
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
