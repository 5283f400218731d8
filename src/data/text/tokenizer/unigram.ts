import * as v from "valibot";
import { RandloraError } from "../../../files/errors.ts";
import { byteIds } from "./byte-level.ts";
import { PartError } from "./part.ts";
import { leastIds, PORTION, type TokenModel } from "./token-model.ts";

export const UnigramConfig = v.looseObject({
  /** Token and log-probability; the id is the place in the list. */
  vocab: v.array(v.tuple([v.pipe(v.string(), v.maxLength(1000)), v.number()])),
  unk_id: v.optional(v.nullable(v.number()), null),
  byte_fallback: v.optional(v.boolean(), false),
});
type UnigramConfig = v.InferOutput<typeof UnigramConfig>;

function unknownText(character = ""): RandloraError {
  const message = `the tokenizer has no token for ${JSON.stringify(character)}, and none for what it does not know`;
  return new RandloraError("data", message, "leave it out of the text");
}

/** An unknown character scores this much below the least likely token; sentencepiece's kUnkPenalty. */
const UNKNOWN_PENALTY = 10;

interface Node {
  readonly next: Map<string, Node>;
  /** Id of the token that ends here. */
  id?: number;
}

/** The last token of the best segmentation of a prefix. */
interface Path {
  readonly id: number;
  readonly start: number;
  readonly score: number;
}

/** By the prefix's end. */
type Paths = (Path | undefined)[];

/**
 * The segmentation of highest probability under independent tokens (Kudo 2018), found by Viterbi over a trie;
 * huggingface/tokenizers, models/unigram. O(n · longest token).
 */
export class Unigram implements TokenModel {
  readonly ids: ReadonlyMap<string, number>;
  readonly #config: UnigramConfig;
  readonly #root: Node = { next: new Map() };
  readonly #unknownScore: number;
  readonly #least: (piece: string) => number;

  constructor(config: UnigramConfig) {
    this.#config = config;
    this.ids = new Map(config.vocab.map(([token], id) => [token, id]));
    this.#least = leastIds(this.ids);
    this.#unknownScore = config.vocab.reduce((least, [, score]) => Math.min(least, score), Infinity) - UNKNOWN_PENALTY;
    if (config.unk_id !== null && config.vocab[config.unk_id] === undefined) {
      throw new PartError(`model.unk_id: ${config.unk_id} is not in the vocabulary`);
    }
    for (const [token, id] of this.ids) this.#add(token, id);
  }

  encode(piece: string, out: number[]): void {
    for (const _ of this.encodeByPortions(piece, out));
  }

  *encodeByPortions(piece: string, out: number[]): Generator<void> {
    const characters = Array.from(piece);
    const paths: Paths = Array.from({ length: characters.length + 1 });
    for (let start = 0; start < characters.length; start++) {
      this.#extend(paths, characters, start);
      if ((start + 1) % PORTION === 0) yield;
    }
    const ends: number[] = [];
    for (let end = characters.length; end > 0;) {
      const path = paths[end];
      if (path === undefined) {
        const reached = paths.findLastIndex((one) => one !== undefined);
        throw unknownText(characters[Math.max(reached, 0)]);
      }
      ends.push(end);
      end = path.start;
    }
    let start = 0;
    let left = PORTION;
    for (let i = ends.length - 1; i >= 0; i--) {
      const end = ends[i] ?? 0;
      if (--left === 0) {
        left = PORTION;
        yield;
      }
      // Unknown neighbors become one.
      if (this.#isUnknown(paths[end]) && i > 0 && this.#isUnknown(paths[ends[i - 1] ?? 0])) continue;
      this.#write(characters.slice(start, end).join(""), out);
      start = end;
    }
  }

  atLeast(piece: string): number {
    return this.#least(piece);
  }

  #isUnknown(path: Path | undefined): boolean {
    return path?.id === this.#config.unk_id;
  }

  #write(text: string, out: number[]): void {
    const id = this.ids.get(text);
    const bytes = id === undefined && this.#config.byte_fallback ? byteIds(text, this.ids) : undefined;
    if (bytes !== undefined) out.push(...bytes);
    else if (id !== undefined) out.push(id);
    else if (this.#config.unk_id !== null) out.push(this.#config.unk_id);
  }

  /** Enters the tokens that begin at `start`. */
  #extend(paths: Paths, characters: readonly string[], start: number): void {
    const { vocab, unk_id } = this.#config;
    const before = start === 0 ? 0 : paths[start]?.score;
    if (before === undefined) return;
    const offer = (end: number, id: number, score: number) => {
      const best = paths[end];
      if (best === undefined || score > best.score) paths[end] = { id, start, score };
    };
    let single = false;
    let node: Node | undefined = this.#root;
    for (let end = start; end < characters.length; end++) {
      node = node.next.get(characters[end] ?? "");
      if (node === undefined) break;
      if (node.id === undefined) continue;
      offer(end + 1, node.id, before + (vocab[node.id]?.[1] ?? 0));
      single ||= end === start;
    }
    if (!single && unk_id !== null) offer(start + 1, unk_id, before + this.#unknownScore);
  }

  #add(token: string, id: number): void {
    let node = this.#root;
    for (const character of token) {
      const next = node.next.get(character) ?? { next: new Map() };
      node.next.set(character, next);
      node = next;
    }
    if (node !== this.#root) node.id = id;
  }
}
