import * as v from "valibot";

import { byteIds } from "./byte-fallback.ts";
import { MergeQueue } from "./merge-queue.ts";
import { PartError } from "./part.ts";
import { leastIds, longestToken, type TokenModel } from "./token-model.ts";

export const BpeConfig = v.looseObject({
  vocab: v.custom<Readonly<Record<string, number>>>(isVocabulary, "not an object of whole numbers"),
  /** Pairs in order of rank: `["a", "b"]`, or `"a b"` in older files. */
  merges: v.array(v.union([v.string(), v.tuple([v.string(), v.string()])])),
  unk_token: v.optional(v.nullable(v.string()), null),
  continuing_subword_prefix: v.optional(v.nullable(v.string()), null),
  end_of_word_suffix: v.optional(v.nullable(v.string()), null),
  fuse_unk: v.optional(v.boolean(), false),
  byte_fallback: v.optional(v.boolean(), false),
  ignore_merges: v.optional(v.boolean(), false),
});
type BpeConfig = v.InferOutput<typeof BpeConfig>;

/** Pieces longer than this are not worth remembering; the reference's limit. */
const LONGEST_CACHED = 256;
const CACHE_SIZE = 1 << 16;

/**
 * Byte-pair encoding: start from characters, join the pair of lowest rank, leftmost first, until none can be joined
 * (Sennrich et al. 2016; huggingface/tokenizers, models/bpe). O(n log n) in the length of a piece.
 *
 * Ours rather than the library's, which builds a JSON text for every pair it looks at (a 128k vocabulary takes seconds
 * to load) and fuses unknown characters across pieces.
 */
export class Bpe implements TokenModel {
  readonly ids: ReadonlyMap<string, number>;
  readonly #config: BpeConfig;
  readonly #unknown: number | undefined;
  /** left · #base + right → rank. */
  readonly #ranks = new Map<number, number>();
  /** rank → id of the joined token. */
  readonly #joined: Int32Array;
  readonly #base: number;
  readonly #longest: number;
  readonly #cache = new Map<string, readonly number[]>();
  readonly #queue = new MergeQueue();

  constructor(config: BpeConfig) {
    this.#config = config;
    this.ids = new Map(Object.entries(config.vocab));
    this.#unknown = config.unk_token === null ? undefined : this.ids.get(config.unk_token);
    this.#base = highest(this.ids) + 1;
    this.#longest = longestToken(this.ids);
    this.#joined = new Int32Array(config.merges.length);
    const prefix = config.continuing_subword_prefix?.length ?? 0;
    for (const [rank, merge] of config.merges.entries()) {
      const [left, right] = typeof merge === "string" ? cutMerge(merge) : merge;
      const key = this.#idOf(left) * this.#base + this.#idOf(right);
      this.#ranks.set(key, rank);
      this.#joined[rank] = this.#idOf(left + right.slice(prefix));
    }
  }

  encode(piece: string, out: number[]): void {
    const whole = this.#config.ignore_merges ? this.ids.get(piece) : undefined;
    if (whole !== undefined) {
      out.push(whole);
      return;
    }
    const cached = this.#cache.get(piece);
    if (cached !== undefined) {
      for (const id of cached) out.push(id);
      return;
    }
    const from = out.length;
    this.#merge(this.#characters(piece), out);
    if (piece.length < LONGEST_CACHED) {
      if (this.#cache.size >= CACHE_SIZE) this.#cache.clear();
      this.#cache.set(piece, out.slice(from));
    }
  }

  atLeast(piece: string): number {
    const { continuing_subword_prefix, end_of_word_suffix } = this.#config;
    // With marks of words a character is known by other names.
    return continuing_subword_prefix || end_of_word_suffix ? 0 : leastIds(piece, this.ids, this.#longest);
  }

  #idOf(token: string): number {
    const id = this.ids.get(token);
    if (id === undefined) throw new PartError(`model.merges: '${token}' is not in the vocabulary`);
    return id;
  }

  /** One id a character, or its bytes', or the unknown token's. */
  #characters(piece: string): number[] {
    const { continuing_subword_prefix, end_of_word_suffix, byte_fallback, fuse_unk } = this.#config;
    const symbols: number[] = [];
    let pending = false; // an unknown token to be written, perhaps for several characters
    let at = 0;
    for (const character of piece) {
      const first = at === 0;
      at += character.length;
      let text = character;
      if (!first && continuing_subword_prefix !== null) text = continuing_subword_prefix + text;
      if (at === piece.length && end_of_word_suffix !== null) text += end_of_word_suffix;
      const id = this.ids.get(text);
      const known = id === undefined && byte_fallback ? byteIds(text, this.ids) : undefined;
      if (known !== undefined) {
        symbols.push(...known);
      } else if (id !== undefined) {
        if (pending && this.#unknown !== undefined) symbols.push(this.#unknown);
        pending = false;
        symbols.push(id);
      } else if (this.#unknown !== undefined) {
        if (pending && !fuse_unk) symbols.push(this.#unknown);
        pending = true;
      }
    }
    if (pending && this.#unknown !== undefined) symbols.push(this.#unknown);
    return symbols;
  }

  #merge(symbols: number[], out: number[]): void {
    const count = symbols.length;
    // A linked list over positions: a joined token lives where its left half was, its right half is marked with -1.
    const previous = Int32Array.from({ length: count }, (_, i) => i - 1);
    const next = Int32Array.from({ length: count }, (_, i) => (i + 1 < count ? i + 1 : -1));
    const queue = this.#queue;
    queue.clear();
    const rankAt = (at: number): number | undefined => {
      const right = symbols[next[at] ?? -1];
      return right === undefined ? undefined : this.#ranks.get((symbols[at] ?? 0) * this.#base + right);
    };
    const offer = (at: number) => {
      const rank = rankAt(at);
      if (rank !== undefined) queue.push(rank, at);
    };
    for (let i = 0; i + 1 < count; i++) offer(i);
    while (queue.pop()) {
      const { rank, position: at } = queue;
      // Entries are not removed when a neighbour changes; a stale one no longer matches what stands there.
      if (symbols[at] === -1 || rankAt(at) !== rank) continue;
      const right = next[at] ?? -1;
      const after = next[right] ?? -1;
      symbols[at] = this.#joined[rank] ?? -1;
      symbols[right] = -1;
      next[at] = after;
      if (after >= 0) previous[after] = at;
      const before = previous[at] ?? -1;
      if (before >= 0) offer(before);
      offer(at);
    }
    for (let i = 0; i >= 0 && i < count; i = next[i] ?? -1) out.push(symbols[i] ?? -1);
  }
}

function cutMerge(merge: string): readonly [string, string] {
  const [left, right, ...rest] = merge.split(" ");
  if (left === undefined || right === undefined || rest.length > 0) {
    throw new PartError(`model.merges: '${merge}' is not a pair`);
  }
  return [left, right];
}

function highest(ids: ReadonlyMap<string, number>): number {
  let most = 0;
  for (const id of ids.values()) most = Math.max(most, id);
  return most;
}

function isVocabulary(input: unknown): boolean {
  if (typeof input !== "object" || input === null || Array.isArray(input)) return false;
  return Object.values(input).every((id) => Number.isInteger(id) && id >= 0);
}
