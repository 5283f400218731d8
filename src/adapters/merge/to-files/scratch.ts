/** Byte arrays that are used again, so that a checkpoint of any size is read through a few of them. */
export class ScratchPool {
  readonly #free: Uint8Array<ArrayBuffer>[] = [];

  /** An array of at least `bytes` bytes with undefined content. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    const index = this.#free.findIndex((array) => array.length >= bytes);
    const [array] = index < 0 ? [] : this.#free.splice(index, 1);
    return array ?? new Uint8Array(Math.max(bytes, SMALLEST));
  }

  /** Gives an array back; its content may be overwritten from now on. */
  give(array: Uint8Array<ArrayBuffer>): void {
    this.#free.push(array);
  }
}

/** Most blocks fit this size, so that arrays are interchangeable. */
const SMALLEST = 4 * 2 ** 20;
