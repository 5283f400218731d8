// One chunk of keys and the pairs of a piece: what each pair comes to there, as a record. Few pairs read keys and values as
// they lie, many have them packed first: both ways add up the same terms in the same order.
import { Attended } from "./attended";
import { COLS_PANEL, colsFromTerms, rowsFromRows, ROWS_PANEL, TILE_COLS, TILE_ROWS } from "./panels";
import { rowPanel, rowSums, rowTile, TILE_W } from "./row";
import { CHUNK, SCORES_PITCH, softmax, weighed } from "./softmax";
import { tile } from "./tile";

@unmanaged
export class Attention extends Attended {
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
  /** Pieces, and how many of them have been computed so far. */
  pieces: u32;
  computed: u32;
}

/** The chunk that is worked on, and the pairs: pair i is token `token` + i / heads, head `firstHead` + i % heads. */
@unmanaged
export class Chunk {
  kvHead: u32;
  firstHead: u32;
  heads: u32;
  token: u32;
  pairs: u32;
  /** Its first key, and those from there that any pair sees: from a multiple of 4 to one before `to`. */
  start: u32;
  from: u32;
  to: u32;
}

/** Pairs of a piece at most; bytes of a record at most, which heads of 256 elements have. */
const MOST_PAIRS: usize = 96;
const MOST_RECORD: usize = 1056;

// What stands where in the scratch, behind the chunk's description: six rows of scores, …
const SCORES: usize = 64;
const WEIGHTS: usize = SCORES + 6336;
export const RECORDS: usize = WEIGHTS + ROWS_PANEL;
export const STATES: usize = RECORDS + 6 * MOST_RECORD;
const VALUE_PANELS: usize = STATES + MOST_PAIRS * MOST_RECORD;
const KEY_PANELS: usize = VALUE_PANELS + 32 * COLS_PANEL;

/** The first key of a token's text: chunks count from there. */
// @ts-ignore: decorator
@inline
export function baseOf(p: Attention, token: u32): u32 {
  return p.firsts ? load<u32>(p.firsts + token * 4) : 0;
}

/** The last key that a token sees. */
// @ts-ignore: decorator
@inline
export function lastOf(p: Attention, token: u32): u32 {
  return p.lasts ? load<u32>(p.lasts + token * 4) : p.firstPosition + token;
}

/** The first key that it sees. */
// @ts-ignore: decorator
@inline
export function firstOf(p: Attention, token: u32): u32 {
  const next = lastOf(p, token) + 1;
  return max(baseOf(p, token), next > p.window ? next - p.window : 0);
}

/** Have the pairs of a piece keys and values packed? */
// @ts-ignore: decorator
@inline
function packs(c: Chunk): bool {
  return c.pairs >= TILE_ROWS;
}

// @ts-ignore: decorator
@inline
function keysOf(p: Attention, c: Chunk): usize {
  return p.keys + c.start * p.keysPitch + c.kvHead * p.head * 4;
}

// @ts-ignore: decorator
@inline
function valuesOf(p: Attention, c: Chunk): usize {
  return p.values + c.start * p.valuesPitch + c.kvHead * p.head * 4;
}

// @ts-ignore: decorator
@inline
function tokenOf(c: Chunk, pair: u32): u32 {
  return c.token + pair / c.heads;
}

// @ts-ignore: decorator
@inline
function queryOf(p: Attention, c: Chunk, pair: u32): usize {
  return p.q + tokenOf(c, pair) * p.qPitch + (c.firstHead + (pair % c.heads)) * p.head * 4;
}

/** Packs the chunk's keys and values where it pays. */
export function packChunk(p: Attention, c: Chunk, scratch: usize): void {
  if (!packs(c)) return;
  const keys = keysOf(p, c);
  for (let panel = c.from / TILE_W; panel * TILE_W < c.to; panel++) {
    const key = panel * TILE_W;
    const at = scratch + KEY_PANELS + panel * p.head * 24;
    rowPanel(keys + key * p.keysPitch, p.keysPitch, min(TILE_W, c.to - key), p.head / 4, at);
  }
  const values = valuesOf(p, c) + c.from * p.valuesPitch;
  for (let d: u32 = 0; d < p.head; d += TILE_COLS) {
    const at = scratch + VALUE_PANELS + (d / TILE_COLS) * COLS_PANEL;
    colsFromTerms(values + d * 4, p.valuesPitch, min(TILE_COLS, p.head - d), c.to - c.from, at);
  }
}

/** Records of up to six pairs from number `first` on; of those that see nothing of the chunk they mean nothing. */
export function recordTile(p: Attention, c: Chunk, first: u32, count: u32, scratch: usize): void {
  if (!packs(c)) {
    for (let i: u32 = 0; i < count; i++) recordAlone(p, c, first + i, scratch, scratch + RECORDS + i * p.recordBytes);
    return;
  }
  // The keys of the chunk that some pair of the tile sees.
  let low = CHUNK;
  let high: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    low = min(low, firstHere(p, c, first + i));
    high = max(high, endHere(p, c, first + i));
  }
  if (low >= high) return;
  low &= ~3;
  for (let i: u32 = 0; i < count; i += 2) {
    const next = i + 1 < count ? i + 1 : i;
    const q = queryOf(p, c, first + i);
    const other = queryOf(p, c, first + next);
    const to = scratch + SCORES + i * SCORES_PITCH;
    const toNext = scratch + SCORES + next * SCORES_PITCH;
    for (let panel = low / TILE_W; panel * TILE_W < high; panel++) {
      const col = panel * TILE_W * 4;
      rowTile(q, other, scratch + KEY_PANELS + panel * p.head * 24, p.head / 4, to + col, toNext + col);
    }
  }
  for (let i: u32 = 0; i < count; i++) {
    const begin = min(firstHere(p, c, first + i), high);
    const end = max(endHere(p, c, first + i), begin);
    const scores = scratch + SCORES + i * SCORES_PITCH;
    if (begin < end) softmax(scores, begin, end, p.scale, p.cap, scratch + RECORDS + i * p.recordBytes);
    // Zeros for the keys that others of the tile see.
    const whole = begin < end ? (end + 3) & ~3 : low;
    if (begin < end && low < (begin & ~3)) memory.fill(scores + low * 4, 0, ((begin & ~3) - low) * 4);
    if (whole < high) memory.fill(scores + whole * 4, 0, (high - whole) * 4);
  }
  const weights = scratch + WEIGHTS;
  rowsFromRows(scratch + SCORES + low * 4, SCORES_PITCH, count, high - low, weights);
  for (let d: u32 = 0; d < p.head; d += TILE_COLS) {
    const panel = scratch + VALUE_PANELS + (d / TILE_COLS) * COLS_PANEL + (low - c.from) * 32;
    tile(weights, panel, high - low, scratch + RECORDS + 16 + d * 4, p.recordBytes);
  }
}

/** The record of one pair, from keys and values as they lie. */
function recordAlone(p: Attention, c: Chunk, pair: u32, scratch: usize, record: usize): void {
  const begin = firstHere(p, c, pair);
  const end = endHere(p, c, pair);
  if (begin >= end) return;
  const scores = scratch + SCORES;
  const from = begin & ~3;
  const keys = keysOf(p, c) + from * p.keysPitch;
  rowSums(queryOf(p, c, pair), keys, p.keysPitch, end - from, p.head / 4, scores + from * 4);
  softmax(scores, begin, end, p.scale, p.cap, record);
  const values = valuesOf(p, c) + begin * p.valuesPitch;
  weighed(scores + begin * 4, values, p.valuesPitch, end - begin, p.head, record + 16);
}

/** The first key that a pair sees, and the one behind its last, within the chunk; the first is behind where it sees none. */
function firstHere(p: Attention, c: Chunk, pair: u32): u32 {
  return max(firstOf(p, tokenOf(c, pair)), c.start) - c.start;
}

function endHere(p: Attention, c: Chunk, pair: u32): u32 {
  return max(min(lastOf(p, tokenOf(c, pair)) + 1, c.start + CHUNK), c.start) - c.start;
}
