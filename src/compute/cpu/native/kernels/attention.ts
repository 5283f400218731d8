// Grouped-query attention with an online softmax: no matrix of tokens × positions exists. A pair is a token and a head; its keys enter
// its state in chunks of 256 (128 of large heads), counted from the first key of its sequence, so what it comes to depends neither on the
// pairs beside it, nor on where in a cache the sequence stands, nor on who computes which chunk.
import { ATTENTION } from "../../families/attention.ts";
import type { Caller } from "../caller.ts";
import { wordsOf } from "../../parameters.ts";
import { BLOCK_TERMS, FEW_PITCH, ROW_PITCH, ROWS_AT } from "../routines/layout.ts";
import { multiplyRows, panelOf, termsOf } from "./attention-panels.ts";
import { attendFew } from "./attention-few.ts";
import { Attention, FEW_PAIRS, type Pairs, type Sight } from "./attention-states.ts";
import { blocksBytes, fours, multiplyTiles, PLAIN, storeSums } from "./tiles.ts";

const AT = wordsOf(ATTENTION);

export function attention(on: Caller, parameters: number, piece: number): void {
  const p = new Attention(on, parameters);
  const { word, tokens } = p;
  const [parts, headBlocks, kvHeads] = [word(AT.parts), word(AT.headBlocks), word(AT.kvHeads)];
  const part = piece % parts;
  const place = Math.floor(piece / parts);
  const kvPlace = Math.floor(place / headBlocks);
  // The last tokens see the most keys: they come first, in whole blocks.
  const end = tokens - Math.floor(kvPlace / kvHeads) * word(AT.pieceTokens);
  const begin = Math.max(0, end - word(AT.pieceTokens));
  for (let token = begin; token < end;) {
    let next = token + 1;
    while (next < end && p.base(next) === p.base(token)) next++;
    const pairs = pairsOf(p, kvPlace % kvHeads, place % headBlocks, token, next);
    const { low, high } = p.chunks(token, next);
    // The first of the part's chunks from there on; sequences of one chunk are not all one part's.
    attend(p, pairs, next, low + ((part + parts - ((low + token) % parts)) % parts), high);
    token = next;
  }
  if (parts === 1) return;
  // Whoever computes the last of all chunks brings them together, in their order.
  const computed = Atomics.add(on.words(parameters + AT.count * 4), parameters / 4 + AT.computed, 1);
  if (computed + 1 < word(AT.pieces)) return;
  for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
    for (let block = 0; block < headBlocks; block++) {
      for (let token = 0; token < tokens;) {
        const { low, high } = p.chunks(token, token + 1);
        const isSame = (of: ReturnType<Attention["chunks"]>): boolean => of.low === low && of.high === high;
        let next = token + 1;
        while (next < tokens && isSame(p.chunks(next, next + 1))) next++;
        bringTogether(p, pairsOf(p, kvHead, block, token, next), low, high);
        token = next;
      }
    }
  }
}

function pairsOf({ word, tokens }: Attention, kvHead: number, block: number, token: number, next: number): Pairs {
  const [group, pieceHeads] = [word(AT.group), word(AT.pieceHeads)];
  const heads = Math.min(pieceHeads, group - block * pieceHeads);
  const firstHead = kvHead * group + block * pieceHeads;
  return { kvHead, firstHead, heads, token, count: (next - token) * heads, record: firstHead * tokens + token * heads };
}

/**
 * Some tokens, up to one before `behind`, and chunks of keys from number `low` on: all up to number `high`, or each so many-th where there
 * are parts, each for itself.
 */
function attend(p: Attention, pairs: Pairs, behind: number, low: number, high: number): void {
  const { chunk } = p;
  const { count, token } = pairs;
  const [base, parts] = [p.base(token), p.word(AT.parts)];
  const isBroken = (): boolean => behind - token > 1 && p.isBroken(count);
  let first = Infinity;
  let end = 0;
  for (let at = token; at < behind; at++) {
    first = Math.min(first, p.first(at));
    end = Math.max(end, p.last(at) + 1);
  }
  p.begin(count);
  let sights = layQueries(p, pairs);
  for (let number = low; number <= high; number += parts) {
    const start = base + number * chunk;
    const [from, to] = [Math.max(first, start), Math.min(end, start + chunk)];
    if (from < to) attendChunk(p, pairs, sights, from, to);
    if (parts === 1) continue;
    if (isBroken()) {
      attendAlone(p, pairs, behind, number, number);
      sights = layQueries(p, pairs);
    } else p.store(number * p.heads * p.tokens + pairs.record, count);
    p.begin(count);
  }
  if (parts > 1) return;
  if (isBroken()) attendAlone(p, pairs, behind, low, high);
  else finish(p, pairs, 0, count);
}

/** Each of some tokens by itself. */
function attendAlone(p: Attention, pairs: Pairs, behind: number, low: number, high: number): void {
  const { heads, record } = pairs;
  for (let at = 0; at < behind - pairs.token; at++) {
    const token = pairs.token + at;
    attend(p, { ...pairs, token, count: heads, record: record + at * heads }, token + 1, low, high);
  }
}

/** Lays queries in panels, and tells what the pairs of each see; few pairs need neither. */
function layQueries(p: Attention, pairs: Pairs): readonly Sight[] {
  const { on, head, word } = p;
  const { panelCols } = on.code;
  const { count, heads, token, firstHead } = pairs;
  if (count <= FEW_PAIRS) return [];
  if (on.code.along) {
    const [from, width] = [word(AT.q) + token * word(AT.qPitch) + firstHead * head * 4, heads * head];
    on.call(on.routines.copy.F32, from, word(AT.qPitch), count / heads, fours(width), p.queries, width * 4);
    return p.sightsOf(pairs);
  }
  for (let panel = 0; panel < count; panel += panelCols) {
    const rowAt = (row: number) => {
      const [pairToken, pairHead] = [token + Math.floor((panel + row) / heads), (panel + row) % heads];
      return word(AT.q) + pairToken * word(AT.qPitch) + (firstHead + pairHead) * head * 4;
    };
    panelOf(on, Math.min(panelCols, count - panel), rowAt, head, p.queries + panel * head * 4);
  }
  return p.sightsOf(pairs);
}

/** Some pairs and the keys of a chunk from `from` to one before `to`. */
function attendChunk(p: Attention, pairs: Pairs, sights: readonly Sight[], from: number, to: number): void {
  const { on, head, chunk } = p;
  if (pairs.count <= FEW_PAIRS) return attendFew(p, pairs, from, to);
  const values = p.rows("values", pairs.kvHead, from, to - from);
  termsOf(on, values.at, values.pitch, to - from, head, chunk, p.values, values.stored);
  p.layKeys(pairs.kvHead, from, to - from);
  for (const [at, sight] of sights.entries()) attendPanel(p, pairs, at * on.code.panelCols, sight, from, to);
}

/** A panel of pairs and the keys of a chunk from `from` to one before `to`, which lie in scratch. */
function attendPanel(p: Attention, pairs: Pairs, panel: number, sight: Sight, from: number, to: number): void {
  const { on, head, word } = p;
  const { panelCols } = on.code;
  const count = Math.min(panelCols, pairs.count - panel);
  const [low, high] = [Math.max(from, sight.first), Math.min(to, sight.end)];
  // Nobody sees a key of the chunk.
  if (low >= high) return;
  const keys = high - low;
  const [first, queries] = [p.keys + (low - from) * ROW_PITCH, p.queries + panel * head * 4];
  if (on.code.along) multiplyAlong(p, first, to - from, keys, queries);
  else multiplyRows(on, first, to - from, keys, queries, head, p.scores, p.room);
  const softmax = on.routines.softmax[word(AT.cap) === 0 ? 0 : 1] ?? 0;
  on.call(
    softmax,
    p.scores,
    keys,
    p.firsts + panel * 4,
    p.lasts + panel * 4,
    p.tops,
    p.sums,
    low,
    word(AT.scale),
    word(AT.cap),
  );
  p.join(panel);
  for (let col = 0; col < head; col += panelCols) {
    const values = p.values + (col * p.chunk + (low - from) * panelCols) * 4;
    multiplyTiles(on, "rows", p.scores, count, values, keys, p.results, panelCols * 4);
    p.enter(panel, count, col, Math.min(panelCols, head - col), p.results, panelCols * 4);
  }
}

/** Keys that are multiplied with a panel of queries at once. */
const ALONG_KEYS = 16;

/** Scores in the sums of `along.ts`, which those of few pairs are: queries are rows, as they lie. @param rows that `copyRows` has laid there */
function multiplyAlong(p: Attention, x: number, rows: number, keys: number, queries: number): void {
  const { on, head, scores, room } = p;
  const { panelCols } = on.code;
  const routine = on.routines.few.F32[2] ?? 0;
  const target = { ...PLAIN, y: scores, yPitch: panelCols * 4 };
  for (let key = 0; key < keys; key += ALONG_KEYS) {
    const count = Math.min(ALONG_KEYS, keys - key);
    for (let term = 0; term < head; term += BLOCK_TERMS) {
      const terms = Math.min(BLOCK_TERMS, head - term);
      const from = x + blocksBytes(rows, term) + key * ROW_PITCH;
      on.setSteps(ROWS_AT, 4, queries + term * 4, head * 4, 3);
      on.call(routine, terms, from, room, 0, 0, panelCols / 4, 4 * head * 4, (count + 1) >>> 1, 0, 0);
      storeSums(on, room, FEW_PITCH, count, panelCols, target, key, 0, term === 0);
    }
  }
}

/** Stores the results of pairs from number `first` on, whose states lie from the first one on. */
function finish(p: Attention, { token, firstHead, heads }: Pairs, first: number, count: number): void {
  const { on, head, word } = p;
  const { panelCols } = on.code;
  for (let at = 0; at < count;) {
    const [of, offset] = [token + Math.floor((first + at) / heads), (first + at) % heads];
    const rows = Math.min(heads - offset, count - at);
    const y = word(AT.y) + of * word(AT.yPitch) + (firstHead + offset) * head * 4;
    const divisor = p.stateSums + at * 4;
    on.call(on.routines.divide, p.states + at * head * 4, head * 4, fours(head), rows, y, head * 4, divisor, 0);
    at += rows;
  }
  if (word(AT.lse) === 0) return;
  const [lse, pitch] = [word(AT.lse) / 4, word(AT.lsePitch) / 4];
  const words = on.words((lse + p.tokens * pitch) * 4);
  for (let panel = 0; panel < count; panel += panelCols) {
    on.call(on.routines.logSums, p.stateTops + panel * 4, p.stateSums + panel * 4, p.sums);
    for (let at = panel; at < Math.min(panel + panelCols, count); at++) {
      const row = lse + (token + Math.floor((first + at) / heads)) * pitch;
      const ofHead = firstHead + ((first + at) % heads);
      words[row + ofHead] = words[p.sums / 4 + at - panel] ?? 0;
      // What is behind the last one stays zero.
      if (ofHead === p.heads - 1) words.fill(0, row + p.heads, row + Math.ceil(p.heads / 4) * 4);
    }
  }
}

/** Brings together what the chunks of pairs came to, which are the same of each. */
function bringTogether(p: Attention, pairs: Pairs, low: number, high: number): void {
  const { on, head, word } = p;
  const { panelCols } = on.code;
  const bytes = word(AT.recordBytes);
  for (let first = 0; first < pairs.count; first += panelCols) {
    const count = Math.min(panelCols, pairs.count - first);
    p.begin(count);
    for (let number = low; number <= high; number++) {
      const from = word(AT.records) + (number * p.heads * p.tokens + pairs.record + first) * bytes;
      const words = on.words(from + count * bytes);
      for (let pair = 0; pair < panelCols; pair++) {
        const record = (from + Math.min(pair, count - 1) * bytes) / 4;
        words[p.tops / 4 + pair] = words[record] ?? 0;
        words[p.sums / 4 + pair] = words[record + 1] ?? 0;
      }
      p.join(0);
      p.enter(0, count, 0, head, from + 16, bytes);
    }
    finish(p, pairs, first, count);
  }
}
