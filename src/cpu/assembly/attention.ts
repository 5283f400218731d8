// Grouped-query attention with an online softmax: no matrix of tokens × positions exists. A pair is a token and a head;
// its keys enter its state in chunks of 256, counted from the first key of its text, so that what it comes to depends
// neither on the pairs beside it, nor on where in a cache the text stands, nor on who computes which chunk.
import { exp1, log1 } from "./math";
import { COLS_PANEL, colsFromTerms, rowsFromRows, ROWS_PANEL, TILE_COLS, TILE_ROWS } from "./panels";
import { rowPanel, rowSums, rowTile, TILE_W } from "./row";
import { CHUNK, NEVER, SCORES_PITCH, softmax, weighed } from "./softmax";
import { tile } from "./tile";

/** q (tokens, heads · head), keys and values (positions, kv heads · head), y as q; pitches are bytes from row to row. */
@unmanaged
class Attention {
  tokens: u32;
  heads: u32;
  kvHeads: u32;
  /** Heads that share a kv head. */
  group: u32;
  /** Elements of a head. */
  head: u32;
  firstPosition: u32;
  /** Keys that a token sees at most. */
  window: u32;
  scale: f32;
  /** Scores become cap · tanh(score / cap); 0: they do not. */
  cap: f32;
  q: usize;
  qPitch: u32;
  keys: usize;
  keysPitch: u32;
  values: usize;
  valuesPitch: u32;
  /** First and last keys of tokens; either may be left out. */
  firsts: usize;
  lasts: usize;
  y: usize;
  yPitch: u32;
  /** log Σ exp(scores) of each head, or nothing. */
  lse: usize;
  lsePitch: u32;
  /** A piece is some tokens of some heads of one kv head, and one chunk alone where there are several parts. */
  pieceTokens: u32;
  blocks: u32;
  pieceHeads: u32;
  headBlocks: u32;
  parts: u32;
  /** What the chunks come to where they are pieces: records by pair and chunk. */
  records: usize;
  /** Bytes of a record. */
  recordBytes: u32;
}

/** Pairs of a piece at most. */
const MOST_PAIRS: usize = 96;
/** Heads of 256 elements at most. A record and a state: the largest score, Σ exp, two words of nothing, Σ exp · value. */
const MOST_RECORD: usize = 1056;

// What stands where in the scratch.
const WEIGHTS: usize = 6336; // behind six rows of scores
const RECORDS: usize = WEIGHTS + ROWS_PANEL;
const STATES: usize = RECORDS + 6 * MOST_RECORD;
const VALUE_PANELS: usize = STATES + MOST_PAIRS * MOST_RECORD;
const KEY_PANELS: usize = VALUE_PANELS + 32 * COLS_PANEL;

/** The first key of a token's text: chunks count from there. */
// @ts-ignore: decorator
@inline
function baseOf(p: Attention, token: u32): u32 {
  return p.firsts ? load<u32>(p.firsts + token * 4) : 0;
}

// @ts-ignore: decorator
@inline
function lastOf(p: Attention, token: u32): u32 {
  return p.lasts ? load<u32>(p.lasts + token * 4) : p.firstPosition + token;
}

// @ts-ignore: decorator
@inline
function firstOf(p: Attention, token: u32): u32 {
  const next = lastOf(p, token) + 1;
  return max(baseOf(p, token), next > p.window ? next - p.window : 0);
}

export function attention(p: Attention, piece: u32, scratch: usize): void {
  const part = piece % p.parts;
  let rest = piece / p.parts;
  const headBlock = rest % p.headBlocks;
  rest /= p.headBlocks;
  const kvHead = rest % p.kvHeads;
  // The last tokens see the most keys: they come first.
  const block = p.blocks - 1 - rest / p.kvHeads;
  const firstHead = headBlock * p.pieceHeads;
  const heads = min(p.pieceHeads, p.group - firstHead);
  const end = min((block + 1) * p.pieceTokens, p.tokens);
  let token = block * p.pieceTokens;
  while (token < end) {
    // Tokens of one text.
    let next = token + 1;
    while (next < end && baseOf(p, next) == baseOf(p, token)) next++;
    attend(p, token, next - token, kvHead, kvHead * p.group + firstHead, heads, part, scratch);
    token = next;
  }
}

/** Some tokens of one text; pair i is token i / heads, head i % heads. */
function attend(
  p: Attention, token: u32, tokens: u32, kvHead: u32, firstHead: u32, heads: u32, part: u32, scratch: usize,
): void {
  const base = baseOf(p, token);
  const pairs = tokens * heads;
  let first: u32 = 0xffffffff;
  let end: u32 = 0;
  for (let t = token; t < token + tokens; t++) {
    first = min(first, firstOf(p, t));
    end = max(end, lastOf(p, t) + 1);
  }
  let chunk = (first - base) / CHUNK;
  let lastChunk = (end - 1 - base) / CHUNK;
  const states = scratch + STATES;
  if (p.parts > 1) {
    if (part < chunk || part > lastChunk) return;
    chunk = part;
    lastChunk = part;
  } else for (let pair: u32 = 0; pair < pairs; pair++) begin(states + pair * p.recordBytes, p.recordBytes);
  const vectors = p.head / 4;
  const panelBytes = <usize>p.head * 24;
  const direct = pairs < TILE_ROWS;
  for (; chunk <= lastChunk; chunk++) {
    const start = base + chunk * CHUNK;
    const from = max(first, start) - start;
    const to = min(end, start + CHUNK) - start;
    const keys = p.keys + start * p.keysPitch + kvHead * p.head * 4;
    const values = p.values + start * p.valuesPitch + kvHead * p.head * 4;
    const packed = from & ~3;
    if (!direct) {
      for (let panel = packed / TILE_W; panel * TILE_W < to; panel++) {
        const key = panel * TILE_W;
        const at = scratch + KEY_PANELS + panel * panelBytes;
        rowPanel<f32>(keys + key * p.keysPitch, p.keysPitch, min(TILE_W, to - key), vectors, at);
      }
      for (let d: u32 = 0; d < p.head; d += TILE_COLS) {
        const at = scratch + VALUE_PANELS + (d / TILE_COLS) * COLS_PANEL;
        const source = values + packed * p.valuesPitch + d * 4;
        colsFromTerms<f32>(source, p.valuesPitch, min(TILE_COLS, p.head - d), to - packed, at);
      }
    }
    for (let pair: u32 = 0; pair < pairs; pair += TILE_ROWS) {
      const count = min(TILE_ROWS, pairs - pair);
      // The keys of the chunk that some pair of the tile sees.
      let low: u32 = CHUNK;
      let high: u32 = 0;
      for (let i: u32 = 0; i < count; i++) {
        const t = token + (pair + i) / heads;
        low = min(low, max(firstOf(p, t), start) - start);
        high = max(high, max(min(lastOf(p, t) + 1, start + CHUNK), start) - start);
      }
      if (low >= high) continue;
      low &= ~3;
      for (let i: u32 = 0; i < count && !direct; i += 2) {
        const one = pair + i;
        const other = i + 1 < count ? one + 1 : one;
        const q = p.q + (token + one / heads) * p.qPitch + (firstHead + (one % heads)) * p.head * 4;
        const r = p.q + (token + other / heads) * p.qPitch + (firstHead + (other % heads)) * p.head * 4;
        const scores = scratch + i * SCORES_PITCH;
        const more = scratch + (other - pair) * SCORES_PITCH;
        for (let panel = low / TILE_W; panel * TILE_W < high; panel++) {
          const col = panel * TILE_W * 4;
          rowTile(q, r, scratch + KEY_PANELS + panel * panelBytes, vectors, scores + col, more + col);
        }
      }
      for (let i: u32 = 0; i < count; i++) {
        const t = token + (pair + i) / heads;
        const mine = max(firstOf(p, t), start) - start;
        const behind = max(min(lastOf(p, t) + 1, start + CHUNK), start) - start;
        const scores = scratch + i * SCORES_PITCH;
        const record = scratch + RECORDS + i * p.recordBytes;
        if (mine >= behind) {
          memory.fill(scores + low * 4, 0, (high - low + 3) * 4);
          continue;
        }
        const vector = mine & ~3;
        if (direct) {
          const q = p.q + t * p.qPitch + (firstHead + ((pair + i) % heads)) * p.head * 4;
          rowSums<f32>(q, keys + vector * p.keysPitch, p.keysPitch, behind - vector, vectors, scores + vector * 4);
        }
        softmax(scores, mine, behind, p.scale, p.cap, record);
        if (direct) {
          const source = values + mine * p.valuesPitch;
          weighed(scores + mine * 4, source, p.valuesPitch, behind - mine, p.head, record + 16);
        } else {
          memory.fill(scores + low * 4, 0, (vector - low) * 4);
          const last = (behind + 3) & ~3;
          if (last < high) memory.fill(scores + last * 4, 0, (high - last + 3) * 4);
        }
      }
      if (!direct) {
        rowsFromRows(scratch + low * 4, SCORES_PITCH, count, high - low, scratch + WEIGHTS);
        for (let d: u32 = 0; d < p.head; d += TILE_COLS) {
          const panel = scratch + VALUE_PANELS + (d / TILE_COLS) * COLS_PANEL + (low - packed) * 32;
          tile(scratch + WEIGHTS, panel, high - low, scratch + RECORDS + 16 + d * 4, p.recordBytes);
        }
      }
      for (let i: u32 = 0; i < count; i++) {
        const t = token + (pair + i) / heads;
        if (firstOf(p, t) >= start + CHUNK || lastOf(p, t) < start) continue;
        const record = scratch + RECORDS + i * p.recordBytes;
        if (p.parts == 1) enter(states + (pair + i) * p.recordBytes, record, p.head);
        else {
          const place = (t * p.heads + firstHead + ((pair + i) % heads)) * p.parts + chunk;
          memory.copy(p.records + place * p.recordBytes, record, p.recordBytes);
        }
      }
    }
  }
  if (p.parts > 1) return;
  for (let pair: u32 = 0; pair < pairs; pair++) {
    finish(p, token + pair / heads, firstHead + (pair % heads), states + pair * p.recordBytes);
  }
}

/** Brings together what the chunks of a pair came to; a piece is a pair. */
export function attentionParts(p: Attention, piece: u32, scratch: usize): void {
  const token = piece / p.heads;
  const base = baseOf(p, token);
  const last = (lastOf(p, token) - base) / CHUNK;
  begin(scratch, p.recordBytes);
  for (let chunk = (firstOf(p, token) - base) / CHUNK; chunk <= last; chunk++) {
    enter(scratch, p.records + (piece * p.parts + chunk) * p.recordBytes, p.head);
  }
  finish(p, token, piece % p.heads, scratch);
}

/** The state of a pair that has seen nothing. */
function begin(state: usize, bytes: usize): void {
  memory.fill(state, 0, bytes);
  store<f32>(state, NEVER);
}

/** A chunk enters a pair's state. */
function enter(state: usize, record: usize, head: u32): void {
  const before = load<f32>(state);
  const here = load<f32>(record);
  const top = max(before, here);
  const kept = exp1(before - top);
  const added = exp1(here - top);
  store<f32>(state, top);
  store<f32>(state, load<f32>(state, 4) * kept + load<f32>(record, 4) * added, 4);
  const kept4 = f32x4.splat(kept);
  const added4 = f32x4.splat(added);
  for (let at: usize = 16; at < 16 + head * 4; at += 16) {
    const old = f32x4.mul(v128.load(state + at), kept4);
    v128.store(state + at, f32x4.add(old, f32x4.mul(v128.load(record + at), added4)));
  }
}

/** Stores a pair's result. */
function finish(p: Attention, token: u32, head: u32, state: usize): void {
  const sum = f32x4.splat(load<f32>(state, 4));
  const y = p.y + token * p.yPitch + head * p.head * 4;
  for (let at: usize = 0; at < p.head * 4; at += 16) {
    v128.store(y + at, f32x4.div(v128.load(state + 16 + at), sum));
  }
  if (!p.lse) return;
  const row = p.lse + token * p.lsePitch;
  store<f32>(row + head * 4, load<f32>(state) + log1(load<f32>(state, 4)));
  // What is behind the last one stays zero.
  for (let pad = head + 1; pad >= p.heads && (pad & 3) != 0; pad++) store<f32>(row + pad * 4, 0);
}
