import type { DecoderConfig } from "../models/config.ts";
import type { Decoder } from "../models/decoder.ts";
import type { KvCache } from "../models/kv-cache.ts";

/**
 * A key-value cache that knows which tokens it holds, so that a sequence with the same beginning (the next turn of a
 * chat) computes only what is new. It belongs to the weights that filled it: `clear` it when those change.
 */
export class PrefixCache implements Disposable {
  readonly cache: KvCache;
  readonly #steady: number;
  #ids: readonly number[] = [];
  /** Tokens of the sequence that filled the cache, what is no longer in it included. */
  #longest = 0;

  constructor(decoder: Decoder) {
    this.cache = decoder.createCache();
    this.#steady = steadyLength(decoder.config);
  }

  /**
   * Keeps what the cache and a sequence have in common, but not all of the sequence: its last token is needed for what
   * comes next.
   * @returns tokens that need not be computed
   */
  keepCommon(ids: readonly number[]): number {
    // Keys of another length were turned by other angles.
    if (Math.max(ids.length, this.#longest) > this.#steady) this.clear();
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
    this.#longest = ids.length;
  }

  /** Forgets everything. */
  clear(): void {
    this.cache.truncate(0);
    this.#ids = [];
    this.#longest = 0;
  }

  [Symbol.dispose](): void {
    this.cache.release();
  }
}

/** Up to how many tokens the angles of RoPE do not depend on the sequence's length; Infinity where they never do. */
export function steadyLength({ ropes }: Pick<DecoderConfig, "ropes">): number {
  const lengths = ropes.map(({ scaling }) =>
    scaling.kind === "dynamic" || scaling.kind === "longrope" ? scaling.trainedLength : Infinity,
  );
  return Math.min(...lengths);
}
