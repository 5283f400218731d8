import * as v from "valibot";
import { byteIds } from "./byte-level.ts";
import { MergeQueue, type Merges, Merging } from "./merging.ts";
import { PartError } from "./part.ts";
import { leastIds, PORTION, portions, type TokenModel } from "./token-model.ts";

/** Every id is below it: two of them, and a merge's, fit a double and an Int32Array. Embeddings of 2^26 rows do not exist. */
const MAX_IDS = 2 ** 26;
/** It is put to every character. */
const Affix = v.pipe(v.string(), v.maxLength(64));

export const BpeConfig = v.looseObject({
  vocab: v.custom<Readonly<Record<string, number>>>(isVocabulary, "not an object of whole numbers"),
  /** Pairs in order of rank: `["a", "b"]`, or `"a b"` in older files. */
  merges: v.array(v.union([v.string(), v.tuple([v.string(), v.string()])])),
  unk_token: v.optional(v.nullable(v.string()), null),
  continuing_subword_prefix: v.optional(v.nullable(Affix), null),
  end_of_word_suffix: v.optional(v.nullable(Affix), null),
  fuse_unk: v.optional(v.boolean(), false),
  byte_fallback: v.optional(v.boolean(), false),
  ignore_merges: v.optional(v.boolean(), false),
});
type BpeConfig = v.InferOutput<typeof BpeConfig>;

/** Pieces longer than this are not worth remembering; the reference's limit. */
const LONGEST_CACHED = 256;
const CACHE_SIZE = 1 << 16;

/** What has been read of a piece. */
interface Reading {
  readonly symbols: number[];
  /** An unknown token is to be written, perhaps for several characters. */
  pending: boolean;
}

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
  readonly #merges: Merges;
  readonly #least: (piece: string) => number;
  readonly #cache = new Map<string, readonly number[]>();
  readonly #queue = new MergeQueue();

  constructor(config: BpeConfig) {
    this.#config = config;
    this.ids = new Map(Object.entries(config.vocab));
    this.#unknown = config.unk_token === null ? undefined : this.ids.get(config.unk_token);
    this.#least = leastIds(this.ids);
    const base = highest(this.ids) + 1;
    const ranks = new Map<number, number>();
    const joined = new Int32Array(config.merges.length);
    this.#merges = { ranks, base, joined };
    const prefix = config.continuing_subword_prefix?.length ?? 0;
    for (const [rank, merge] of config.merges.entries()) {
      const [left, right] = typeof merge === "string" ? cutMerge(merge) : merge;
      ranks.set(this.#idOf(left) * base + this.#idOf(right), rank);
      joined[rank] = this.#idOf(left + right.slice(prefix));
    }
  }

  encode(piece: string, out: number[]): void {
    if (this.#isWhole(piece, out)) return;
    const cached = this.#cache.get(piece);
    if (cached !== undefined) {
      for (const id of cached) out.push(id);
      return;
    }
    const from = out.length;
    const reading = { symbols: [], pending: false };
    this.#read(piece, 0, piece.length, reading);
    const merging = new Merging(reading.symbols, this.#merges, this.#queue);
    merging.advance(Infinity);
    merging.write(out);
    if (piece.length < LONGEST_CACHED) {
      if (this.#cache.size >= CACHE_SIZE) this.#cache.clear();
      this.#cache.set(piece, out.slice(from));
    }
  }

  *encodeByPortions(piece: string, out: number[]): Generator<void> {
    if (this.#isWhole(piece, out)) return;
    const reading = { symbols: [], pending: false };
    for (const { start, end } of portions(piece)) {
      this.#read(piece, start, end, reading);
      yield;
    }
    // A queue of its own: other pieces are encoded meanwhile.
    const merging = new Merging(reading.symbols, this.#merges, new MergeQueue());
    while (!merging.advance(PORTION)) yield;
    merging.write(out);
  }

  atLeast(piece: string): number {
    const { continuing_subword_prefix, end_of_word_suffix } = this.#config;
    // With marks of words a character is known by other names.
    return continuing_subword_prefix || end_of_word_suffix ? 0 : this.#least(piece);
  }

  #isWhole(piece: string, out: number[]): boolean {
    const whole = this.#config.ignore_merges ? this.ids.get(piece) : undefined;
    if (whole !== undefined) out.push(whole);
    return whole !== undefined;
  }

  #idOf(token: string): number {
    const id = this.ids.get(token);
    if (id === undefined) throw new PartError(`model.merges: '${token}' is not in the vocabulary`);
    return id;
  }

  /** Reads a part of a piece: one id a character, or its bytes', or the unknown token's. */
  #read(piece: string, start: number, end: number, reading: Reading): void {
    const { continuing_subword_prefix, end_of_word_suffix, byte_fallback, fuse_unk } = this.#config;
    const { symbols } = reading;
    let { pending } = reading;
    let at = start;
    for (const character of piece.slice(start, end)) {
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
    if (end === piece.length && pending && this.#unknown !== undefined) symbols.push(this.#unknown);
    reading.pending = pending;
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
  return Object.values(input).every((id) => Number.isInteger(id) && id >= 0 && id < MAX_IDS);
}
