import { areText, specialByte } from "./grammar.ts";
import { TokenTexts } from "../../data/text/token-text.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import { Turn } from "../../data/text/tokenizer/token-model.ts";

/** The bytes of a vocabulary's tokens as a tree, in the order in which it is walked. */
export interface TokenTree {
  /** One more than the highest id. */
  readonly size: number;
  /** Of each node: the byte that leads to it, how deep it is (from 1), and the first node behind all that is in it. */
  readonly bytes: Uint8Array;
  readonly depths: Uint16Array;
  readonly ends: Uint32Array;
  /** Tokens that end at node `n`: `tokens` from `firsts[n]` up to `firsts[n + 1]`. */
  readonly firsts: Uint32Array;
  readonly tokens: Uint32Array;
}

/** Longer ones are not offered: depths are 16 bits. */
const LONGEST = 1000;
/** Tokens after which the clock is looked at. */
const LOOKS = 64;

/** The bytes of a token; undefined for control tokens that no format has, and those without a text of their own. */
export function bytesOf(tokenizer: Tokenizer, texts: TokenTexts, id: number): readonly number[] | undefined {
  const token = tokenizer.idToToken(id);
  if (token === undefined) return undefined;
  const special = specialByte(token);
  if (special !== undefined) return [special];
  const bytes = tokenizer.isSpecial(id) ? null : texts.of(id).bytes;
  return bytes === null || bytes.length === 0 || bytes.length > LONGEST || !areText(bytes) ? undefined : bytes;
}

/**
 * Makes the tree of a vocabulary, which takes up to a second for a large one: others have their turn meanwhile.
 * @param size ids that the model has
 */
export async function tokenTree(tokenizer: Tokenizer, size: number): Promise<TokenTree> {
  const texts = new TokenTexts(tokenizer);
  const turn = new Turn();
  /** Tokens by their bytes, in Latin-1. */
  const spelled = new Map<string, number[]>();
  /** Those by how they begin, so that no more are sorted at a time. */
  const groups = new Map<string, string[]>();
  for (let id = 0; id < size; id++) {
    const bytes = bytesOf(tokenizer, texts, id);
    if (id % LOOKS === 0 && turn.isOver()) await turn.end();
    if (bytes === undefined) continue;
    const key = Buffer.from(bytes).toString("latin1");
    const same = spelled.get(key);
    if (same === undefined) {
      spelled.set(key, [id]);
      const begin = key.slice(0, 2);
      const group = groups.get(begin);
      if (group === undefined) groups.set(begin, [key]);
      else group.push(key);
    } else same.push(id);
  }
  const bytes: number[] = [];
  const depths: number[] = [];
  const ends: number[] = [];
  const firsts: number[] = [];
  const tokens: number[] = [];
  /** Nodes from the root to the present one. */
  const path: number[] = [];
  let before = "";
  let done = 0;
  for (const key of sortedIn(groups)) {
    if (done++ % LOOKS === 0 && turn.isOver()) await turn.end();
    let common = 0;
    while (common < before.length && common < key.length && before[common] === key[common]) common++;
    for (const node of path.splice(common)) ends[node] = bytes.length;
    for (let at = common; at < key.length; at++) {
      path.push(bytes.length);
      bytes.push(key.charCodeAt(at));
      depths.push(at + 1);
      ends.push(0);
      firsts.push(tokens.length);
    }
    for (const id of spelled.get(key) ?? []) tokens.push(id);
    before = key;
  }
  for (const node of path) ends[node] = bytes.length;
  firsts.push(tokens.length);
  return {
    size,
    bytes: Uint8Array.from(bytes),
    depths: Uint16Array.from(depths),
    ends: Uint32Array.from(ends),
    firsts: Uint32Array.from(firsts),
    tokens: Uint32Array.from(tokens),
  };
}

/** All of them in order. @param groups by their first two bytes */
function* sortedIn(groups: ReadonlyMap<string, readonly string[]>): Generator<string> {
  for (const begin of [...groups.keys()].toSorted()) yield* groups.get(begin)?.toSorted() ?? [];
}
