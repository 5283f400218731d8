/** Most blocks of weights fit this size, so that arrays are interchangeable. */
const SMALLEST = 4 * 2 ** 20;

/** Arrays that are kept while nobody uses them. */
const MOST_IDLE = 4;

/**
 * Byte arrays that are used again: a checkpoint of any size passes through a few of them. New ones for each block would
 * wait for a collection that takes its time where memory of WebAssembly counts as the collector's.
 */
export class BytePool {
  readonly #idle: Uint8Array<ArrayBuffer>[] = [];

  /** An array of at least `bytes` bytes with undefined content. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    const index = this.#idle.findIndex((array) => array.length >= bytes);
    const [array] = index < 0 ? [] : this.#idle.splice(index, 1);
    return array ?? new Uint8Array(Math.max(bytes, SMALLEST));
  }

  /** Gives an array back; its content may be overwritten from now on. */
  give(array: Uint8Array<ArrayBuffer>): void {
    this.#idle.push(array);
    if (this.#idle.length > MOST_IDLE) this.#idle.shift();
  }
}
