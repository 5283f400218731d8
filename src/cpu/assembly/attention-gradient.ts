// The gradients of attention by tiles of scores, so that no matrix of tokens × positions exists (algorithm 4 of Dao et al.,
// arXiv:2205.14135). A piece owns some rows of one side, and the other side streams by in chunks:
//
//   side       own rows of    the others'     results
//   queries    q, dy          keys, values    dq = Σ slopes · keys
//   keys       keys, values   q, dy           dkeys = Σ slopes · q, dvalues = Σ weights · dy
//
// with weights = softmax of the scores and slopes = ∂loss/∂(q · key). Scores are computed for both sides; what that costs
// buys sums whose order does not depend on threads.
import { sumOf } from "./lanes";
import { capped4, exp4 } from "./math";
import { colsFromTerms, rowsFromRows, ROWS_PANEL, TILE_COLS, TILE_ROWS } from "./panels";
import { rowPanel, rowTile, TILE_W } from "./row";
import { SCORES_PITCH } from "./softmax";
import { tile } from "./tile";

/** Pitches are bytes from row to row; what is not wanted is 0. */
@unmanaged
class AttentionGradient {
  tokens: u32;
  positions: u32;
  heads: u32;
  kvHeads: u32;
  group: u32;
  /** Elements of a head. */
  head: u32;
  firstPosition: u32;
  window: u32;
  scale: f32;
  cap: f32;
  q: usize;
  qPitch: u32;
  keys: usize;
  keysPitch: u32;
  values: usize;
  valuesPitch: u32;
  firsts: usize;
  lasts: usize;
  y: usize;
  yPitch: u32;
  lse: usize;
  lsePitch: u32;
  dy: usize;
  dyPitch: u32;
  dlse: usize;
  dlsePitch: u32;
  /** Rows of `statsPitch` bytes, a token every 4: first keys, last keys, and of each head lse and dy · y − dlse. */
  stats: usize;
  statsPitch: u32;
  dq: usize;
  dqPitch: u32;
  dkeys: usize;
  dkeysPitch: u32;
  dvalues: usize;
  dvaluesPitch: u32;
  /** Rows that a piece owns, at most 48, and of the others in a chunk: 256, or 128 where heads are large. */
  pieceRows: u32;
  chunk: u32;
}

/** No token's first key. */
const NEVER_SEEN: u32 = 0x7fffffff;

// What stands where in the scratch: six rows of scores and of products dy · value, panels of both, a tile of results …
const PRODUCTS: usize = 6336;
const SLOPES: usize = 2 * PRODUCTS;
const WEIGHTS: usize = SLOPES + ROWS_PANEL;
const RESULT: usize = WEIGHTS + ROWS_PANEL;
// … and, for 48 rows and heads of 256, the sums of own rows, then the panels of a chunk.
const SUMS: usize = RESULT + 256;
const OTHER_SUMS: usize = SUMS + 49152;
const PANELS: usize = OTHER_SUMS + 49152;

/** What the two sides need of each token: the keys that it sees, and of each head two numbers. */
export function attentionStats(p: AttentionGradient, piece: u32, scratch: usize): void {
  const end = min((piece + 1) * p.pieceRows, p.tokens);
  const pitch = p.statsPitch;
  for (let token = piece * p.pieceRows; token < end; token++) {
    const last = p.lasts ? load<u32>(p.lasts + token * 4) : p.firstPosition + token;
    const first = last + 1 > p.window ? last + 1 - p.window : 0;
    const at = p.stats + token * 4;
    store<u32>(at, p.firsts ? max(first, load<u32>(p.firsts + token * 4)) : first);
    store<u32>(at + pitch, last);
    for (let head: u32 = 0; head < p.heads; head++) {
      let sum = f32x4.splat(0);
      const y = p.y + token * p.yPitch + head * p.head * 4;
      const dy = p.dy + token * p.dyPitch + head * p.head * 4;
      for (let d: usize = 0; d < p.head * 4; d += 16) {
        sum = f32x4.add(sum, f32x4.mul(v128.load(y + d), v128.load(dy + d)));
      }
      const bySum = p.dlse ? load<f32>(p.dlse + token * p.dlsePitch + head * 4) : 0;
      store<f32>(at + (2 + 2 * head) * pitch, load<f32>(p.lse + token * p.lsePitch + head * 4));
      store<f32>(at + (3 + 2 * head) * pitch, sumOf(sum) - bySum);
    }
  }
  // Nobody stands behind the last token.
  if (end == p.tokens) {
    for (let pad = end; (pad & 3) != 0; pad++) {
      store<u32>(p.stats + pad * 4, NEVER_SEEN);
      store<u32>(p.stats + pad * 4 + pitch, 0);
    }
  }
}

export function attentionQueries(p: AttentionGradient, piece: u32, scratch: usize): void {
  const head = piece % p.heads;
  // The last tokens see the most keys: they come first.
  const blocks = (p.tokens + p.pieceRows - 1) / p.pieceRows;
  const begin = (blocks - 1 - piece / p.heads) * p.pieceRows;
  const rows = min(p.pieceRows, p.tokens - begin);
  const place = head * p.head * 4;
  const kvPlace = (head / p.group) * p.head * 4;
  const stats = p.stats + (2 + 2 * head) * p.statsPitch;
  let first = NEVER_SEEN;
  let last: u32 = 0;
  for (let token = begin; token < begin + rows; token++) {
    first = min(first, load<u32>(p.stats + token * 4));
    last = max(last, load<u32>(p.stats + token * 4 + p.statsPitch));
  }
  memory.fill(scratch + SUMS, 0, rows * p.head * 4);
  for (let start = (first / p.chunk) * p.chunk; start <= last; start += p.chunk) {
    const low = (max(first, start) - start) & ~3;
    const high = min(last + 1 - start, p.chunk);
    const keys = p.keys + start * p.keysPitch + kvPlace;
    const values = p.values + start * p.valuesPitch + kvPlace;
    rowPanels(p, keys, p.keysPitch, low, high, scratch + PANELS);
    rowPanels(p, values, p.valuesPitch, low, high, scratch + PANELS + rowPanelsBytes(p));
    const terms = scratch + PANELS + 2 * rowPanelsBytes(p);
    termPanels(p, keys, p.keysPitch, low, high, terms);
    for (let row: u32 = 0; row < rows; row += TILE_ROWS) {
      const count = min(TILE_ROWS, rows - row);
      const q = p.q + (begin + row) * p.qPitch + place;
      products(p, q, p.qPitch, p.dy + (begin + row) * p.dyPitch + place, p.dyPitch, count, low, high, scratch);
      for (let i: u32 = 0; i < count; i++) {
        const at = (begin + row + i) * 4;
        const seen = p.stats + at;
        ofQuery(p, scratch + i * SCORES_PITCH, start, low, high, seen, load<f32>(stats + at), load<f32>(stats + at + p.statsPitch));
      }
      rowsFromRows(scratch + low * 4, SCORES_PITCH, count, high - low, scratch + SLOPES);
      addProduct(p, scratch + SLOPES, terms, low, high, count, scratch + SUMS + row * p.head * 4, scratch);
    }
  }
  storeRows(p, scratch + SUMS, rows, p.dq + begin * p.dqPitch + place, p.dqPitch);
}

export function attentionKeys(p: AttentionGradient, piece: u32, scratch: usize): void {
  const kvHead = piece % p.kvHeads;
  const begin = (piece / p.kvHeads) * p.pieceRows;
  const rows = min(p.pieceRows, p.positions - begin);
  const kvPlace = kvHead * p.head * 4;
  memory.fill(scratch + SUMS, 0, rows * p.head * 4);
  memory.fill(scratch + OTHER_SUMS, 0, rows * p.head * 4);
  for (let start: u32 = 0; start < p.tokens; start += p.chunk) {
    const count = min(p.chunk, p.tokens - start);
    // From the first to the last token of the chunk that sees one of the keys.
    let low: u32 = 0;
    let high = count;
    while (low < high && !sees(p, start + low, begin, rows)) low++;
    while (high > low && !sees(p, start + high - 1, begin, rows)) high--;
    if (low == high) continue;
    low &= ~3;
    for (let head = kvHead * p.group; head < (kvHead + 1) * p.group; head++) {
      const place = head * p.head * 4;
      const q = p.q + start * p.qPitch + place;
      const dy = p.dy + start * p.dyPitch + place;
      rowPanels(p, q, p.qPitch, low, high, scratch + PANELS);
      rowPanels(p, dy, p.dyPitch, low, high, scratch + PANELS + rowPanelsBytes(p));
      const terms = scratch + PANELS + 2 * rowPanelsBytes(p);
      const otherTerms = terms + termPanelsBytes(p);
      if (p.dkeys) termPanels(p, q, p.qPitch, low, high, terms);
      if (p.dvalues) termPanels(p, dy, p.dyPitch, low, high, otherTerms);
      for (let row: u32 = 0; row < rows; row += TILE_ROWS) {
        const count = min(TILE_ROWS, rows - row);
        const keys = p.keys + (begin + row) * p.keysPitch + kvPlace;
        const values = p.values + (begin + row) * p.valuesPitch + kvPlace;
        products(p, keys, p.keysPitch, values, p.valuesPitch, count, low, high, scratch);
        for (let i: u32 = 0; i < count; i++) {
          ofKey(p, scratch + i * SCORES_PITCH, begin + row + i, start, low, high, head);
        }
        const sums = row * p.head * 4;
        if (p.dkeys) {
          rowsFromRows(scratch + low * 4, SCORES_PITCH, count, high - low, scratch + SLOPES);
          addProduct(p, scratch + SLOPES, terms, low, high, count, scratch + SUMS + sums, scratch);
        }
        if (p.dvalues) {
          rowsFromRows(scratch + PRODUCTS + low * 4, SCORES_PITCH, count, high - low, scratch + WEIGHTS);
          addProduct(p, scratch + WEIGHTS, otherTerms, low, high, count, scratch + OTHER_SUMS + sums, scratch);
        }
      }
    }
  }
  if (p.dkeys) storeRows(p, scratch + SUMS, rows, p.dkeys + begin * p.dkeysPitch + kvPlace, p.dkeysPitch);
  if (p.dvalues) storeRows(p, scratch + OTHER_SUMS, rows, p.dvalues + begin * p.dvaluesPitch + kvPlace, p.dvaluesPitch);
}

/** Does a token see one of some keys? */
// @ts-ignore: decorator
@inline
function sees(p: AttentionGradient, token: u32, key: u32, keys: u32): bool {
  const at = p.stats + token * 4;
  return load<u32>(at) < key + keys && load<u32>(at + p.statsPitch) >= key;
}

/** Bytes of the panels that `rowPanels` and `termPanels` make of a chunk. */
// @ts-ignore: decorator
@inline
function rowPanelsBytes(p: AttentionGradient): usize {
  return <usize>((p.chunk + TILE_W - 1) / TILE_W) * p.head * 24;
}

// @ts-ignore: decorator
@inline
function termPanelsBytes(p: AttentionGradient): usize {
  return <usize>((p.head + TILE_COLS - 1) / TILE_COLS) * p.chunk * 32;
}

/** Rows `low` … `high` − 1 of a chunk as what own rows are multiplied with. */
function rowPanels(p: AttentionGradient, from: usize, pitch: usize, low: u32, high: u32, to: usize): void {
  for (let panel = low / TILE_W; panel * TILE_W < high; panel++) {
    const row = panel * TILE_W;
    rowPanel<f32>(from + row * pitch, pitch, min(TILE_W, high - row), p.head / 4, to + panel * p.head * 24);
  }
}

/** The same rows as the terms of sums. */
function termPanels(p: AttentionGradient, from: usize, pitch: usize, low: u32, high: u32, to: usize): void {
  for (let d: u32 = 0; d < p.head; d += TILE_COLS) {
    const at = to + (d / TILE_COLS) * p.chunk * 32 + low * 32;
    colsFromTerms<f32>(from + low * pitch + d * 4, pitch, min(TILE_COLS, p.head - d), high - low, at);
  }
}

/** The products of up to six own rows with the chunk's: of the first operands to scratch, of the second behind them. */
function products(
  p: AttentionGradient, own: usize, pitch: usize, other: usize, otherPitch: usize, rows: u32, low: u32, high: u32, scratch: usize,
): void {
  const vectors = p.head / 4;
  const panels = scratch + PANELS;
  const otherPanels = panels + rowPanelsBytes(p);
  for (let i: u32 = 0; i < rows; i += 2) {
    const next = i + 1 < rows ? i + 1 : i;
    const to = scratch + i * SCORES_PITCH;
    const toNext = scratch + next * SCORES_PITCH;
    for (let panel = low / TILE_W; panel * TILE_W < high; panel++) {
      const at = panel * p.head * 24;
      const col = panel * TILE_W * 4;
      rowTile(own + i * pitch, own + next * pitch, panels + at, vectors, to + col, toNext + col);
      const place = PRODUCTS + col;
      rowTile(other + i * otherPitch, other + next * otherPitch, otherPanels + at, vectors, to + place, toNext + place);
    }
  }
}

/** Products of one query and the chunk's keys become slopes and, behind them, weights. */
function ofQuery(p: AttentionGradient, at: usize, start: u32, low: u32, high: u32, seen: usize, lse: f32, rest: f32): void {
  const first = i32x4.splat(load<i32>(seen));
  const last = i32x4.splat(load<i32>(seen + p.statsPitch));
  const four = i32x4.splat(4);
  let key = i32x4.add(i32x4.splat(start + low), i32x4(0, 1, 2, 3));
  const lse4 = f32x4.splat(lse);
  const rest4 = f32x4.splat(rest);
  for (let col = low; col < high; col += 4) {
    const mask = v128.and(i32x4.ge_s(key, first), i32x4.le_s(key, last));
    weigh(p, at + col * 4, lse4, rest4, mask);
    key = i32x4.add(key, four);
  }
}

/** The same of one key and the chunk's queries of one head. */
function ofKey(p: AttentionGradient, at: usize, key: u32, start: u32, low: u32, high: u32, head: u32): void {
  const key4 = i32x4.splat(key);
  for (let col = low; col < high; col += 4) {
    const seen = p.stats + (start + col) * 4;
    const sums = seen + (2 + 2 * head) * p.statsPitch;
    const mask = v128.and(i32x4.le_s(v128.load(seen), key4), i32x4.ge_s(v128.load(seen + p.statsPitch), key4));
    weigh(p, at + col * 4, v128.load(sums), v128.load(sums + p.statsPitch), mask);
  }
}

/** From q · key and dy · value of four pairs; zeros where the key is not seen. */
// @ts-ignore: decorator
@inline
function weigh(p: AttentionGradient, at: usize, lse: v128, rest: v128, seen: v128): void {
  const scale = f32x4.splat(p.scale);
  let score = f32x4.mul(scale, v128.load(at));
  let bend = scale;
  if (p.cap != 0) {
    const cap = f32x4.splat(p.cap);
    score = capped4(score, cap);
    const share = f32x4.div(score, cap);
    bend = f32x4.mul(scale, f32x4.sub(f32x4.splat(1), f32x4.mul(share, share)));
  }
  const weight = exp4(f32x4.sub(score, lse));
  const slope = f32x4.mul(f32x4.mul(bend, weight), f32x4.sub(v128.load(at + PRODUCTS), rest));
  v128.store(at, v128.and(slope, seen));
  v128.store(at + PRODUCTS, v128.and(weight, seen));
}

/** Adds a panel of six rows times the chunk's terms to the sums of up to six own rows. */
function addProduct(
  p: AttentionGradient, panel: usize, terms: usize, low: u32, high: u32, rows: u32, sums: usize, scratch: usize,
): void {
  const result = scratch + RESULT;
  for (let d: u32 = 0; d < p.head; d += TILE_COLS) {
    tile(panel, terms + (d / TILE_COLS) * p.chunk * 32 + low * 32, high - low, result, 32);
    for (let i: u32 = 0; i < rows; i++) {
      const to = sums + (i * p.head + d) * 4;
      v128.store(to, f32x4.add(v128.load(to), v128.load(result + i * 32)));
      if (d + 4 < p.head) v128.store(to, f32x4.add(v128.load(to, 16), v128.load(result + i * 32, 16)), 16);
    }
  }
}

function storeRows(p: AttentionGradient, sums: usize, rows: u32, to: usize, pitch: usize): void {
  for (let row: u32 = 0; row < rows; row++) memory.copy(to + row * pitch, sums + row * p.head * 4, p.head * 4);
}
