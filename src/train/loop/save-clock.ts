/** Milliseconds between two states, where no number of steps is given. */
const INTERVAL_MS = 60_000;
/** A save is followed by this many times as long without one, so that saving takes 3 % of the time at most. */
const SPACING = 32;

/** Tells when the next training state is due by time. */
export class SaveClock {
  readonly #now: () => number;
  #next: number;

  /** @param now a clock in milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#next = now() + INTERVAL_MS;
  }

  get isDue(): boolean {
    return this.#now() >= this.#next;
  }

  /** Saves, and counts from its end on. */
  async time(save: () => Promise<void>): Promise<void> {
    const began = this.#now();
    await save();
    const end = this.#now();
    this.#next = end + Math.max(INTERVAL_MS, SPACING * (end - began));
  }
}
