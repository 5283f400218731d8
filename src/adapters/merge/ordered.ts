/**
 * Work that is started ahead and finished in order. Each step is given the promise of the step before it, its *turn*:
 * it may read and compute at once, and writes after its turn has come. The bytes in flight are bounded, where more than two
 * steps are.
 */
export class OrderedSteps {
  readonly #limit: number;
  readonly #running: { readonly bytes: number; readonly done: Promise<void> }[] = [];
  #bytes = 0;
  #last: Promise<void> = Promise.resolve();

  /** @param limit bytes that may be in flight; of larger steps there are two, or one could be read only after another was written */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Starts a step as soon as there is room for `bytes`.
   * @throws whatever an earlier step threw
   */
  async add(bytes: number, start: (turn: Promise<void>) => Promise<void>): Promise<void> {
    while (this.#running.length > 1 && this.#bytes + bytes > this.#limit) await this.#finishFirst();
    const done = start(this.#last);
    done.catch(() => {}); // reported by whoever waits for it; until then it must not count as unhandled
    this.#last = done;
    this.#running.push({ bytes, done });
    this.#bytes += bytes;
  }

  /** Waits for every step; throws what the first failing one threw, after the others have settled. */
  async drain(): Promise<void> {
    try {
      while (this.#running.length > 0) await this.#finishFirst();
    } finally {
      await Promise.allSettled(this.#running.splice(0).map(({ done }) => done));
    }
  }

  async #finishFirst(): Promise<void> {
    const first = this.#running.shift();
    if (first === undefined) return;
    this.#bytes -= first.bytes;
    await first.done;
  }
}
