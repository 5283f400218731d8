/** Items that may wait to be taken; whoever makes more is held up. */
const MOST_WAITING = 32;

/** What comes of a request, on its way from the loop that makes it to the one who takes it. */
export class Outbox<T, R> {
  readonly #items: T[] = [];
  #end: { readonly result: R } | { readonly reason: unknown } | undefined;
  #isLeft = false;

  /** So much waits to be taken that no more should be made. */
  get isFull(): boolean {
    return this.#items.length >= MOST_WAITING;
  }

  /** No more is wanted: nobody takes what comes, or the end has been said. */
  get isClosed(): boolean {
    return this.#isLeft || this.#end !== undefined;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Nothing more comes. */
  end(result: R): void {
    this.#end ??= { result };
  }

  /** Nothing more comes, and this is why; what waits is still handed out. */
  fail(reason: unknown): void {
    this.#end ??= { reason };
  }

  /**
   * Hands out what comes, once. Leaving it tells the maker that no more is wanted.
   * @param make makes more, of this or of others
   * @param onRoom told when there is room for another item
   * @throws what `fail` was given
   */
  async *taken(make: () => Promise<void>, onRoom?: () => void): AsyncGenerator<T, R> {
    try {
      for (;;) {
        const item = this.#items.shift();
        if (item !== undefined) {
          onRoom?.();
          yield item;
        } else if (this.#end === undefined) await make();
        else if ("result" in this.#end) return this.#end.result;
        else throw this.#end.reason;
      }
    } finally {
      this.#isLeft = true;
    }
  }
}

/** Takes all of it. @returns what it ended with */
export async function endOf<T, R>(items: AsyncGenerator<T, R>, onItem?: (item: T) => void): Promise<R> {
  for (;;) {
    const { done, value } = await items.next();
    if (done === true) return value;
    onItem?.(value);
  }
}
