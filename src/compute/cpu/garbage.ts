/** How often the process's memory is looked at. */
const LOOK_MS = 50;
/** It may have so many bytes more than the fewest since garbage was last collected. */
const MOST_BYTES = 64 * 2 ** 20;

/**
 * Has garbage collected whenever the process's memory has grown, but for the device's, until it is disposed of. JavaScriptCore goes by the size of its own
 * heap, and counts memories of WebAssembly among that, several times where they have grown: beside a model it lets more garbage lie than the model takes.
 */
export class GarbageWatch implements Disposable {
  readonly #timer: NodeJS.Timeout;
  readonly #others: () => number;
  #fewest = Infinity;

  /** @param device bytes of the process that are the device's, as far as it has written them itself */
  constructor(device: () => number) {
    this.#others = () => process.memoryUsage.rss() - device();
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const bytes = this.#others();
    this.#fewest = Math.min(this.#fewest, bytes);
    if (bytes <= this.#fewest + MOST_BYTES) return;
    // At once: a collection that goes on beside other work does not give the system its pages back.
    Bun.gc(true);
    this.#fewest = this.#others();
  }
}
