import type { Decoder } from "../models/decoder.ts";
import type { KvCache } from "../models/kv-cache.ts";

/**
 * A key-value cache that knows which tokens it holds, so that a sequence with the same beginning (the next turn of a
 * chat) computes only what is new. It belongs to the weights that filled it: `clear` it when those change.
 */
export class PrefixCache implements Disposable {
  readonly cache: KvCache;
  #ids: readonly number[] = [];

  constructor(decoder: Decoder) {
    this.cache = decoder.createCache();
  }

  /**
   * Keeps what the cache and a sequence have in common, but not all of the sequence: its last token is needed for what
   * comes next.
   * @returns tokens that need not be computed
   */
  keepCommon(ids: readonly number[]): number {
    const most = Math.min(this.cache.length, this.#ids.length, ids.length - 1);
    let common = 0;
    while (common < most && this.#ids[common] === ids[common]) common++;
    this.cache.truncate(common);
    this.#ids = ids.slice(0, common);
    return common;
  }

  /** Says which tokens went into the cache; it holds the first of them. */
  remember(ids: readonly number[]): void {
    this.#ids = ids.slice(0, this.cache.length);
  }

  /** Forgets everything. */
  clear(): void {
    this.cache.truncate(0);
    this.#ids = [];
  }

  [Symbol.dispose](): void {
    this.cache.release();
  }
}
