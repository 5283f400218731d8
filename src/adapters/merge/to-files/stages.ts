/** Wall-clock seconds by stage; stages follow each other without gaps. */
export class StageClock {
  readonly #start = performance.now();
  readonly #stages: Record<string, number> = {};
  #last = this.#start;

  /** Ends the stage that began when the one before it ended. */
  end(name: string): void {
    const now = performance.now();
    this.#stages[name] = (this.#stages[name] ?? 0) + (now - this.#last) / 1000;
    this.#last = now;
  }

  /** Every stage, and `total`. */
  stages(): Record<string, number> {
    return { total: (performance.now() - this.#start) / 1000, ...this.#stages };
  }
}
