/** How long a long encoding keeps others waiting. */
const TURN_MS = 8;

/** The time since others had theirs. */
export class Turn {
  #start = performance.now();

  isOver(): boolean {
    return performance.now() - this.#start >= TURN_MS;
  }

  async end(): Promise<void> {
    await new Promise(setImmediate);
    this.#start = performance.now();
  }
}
