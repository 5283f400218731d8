// The gradients of attention, so that no matrix of tokens × positions exists (algorithm 4 of Dao et al.,
// arXiv:2205.14135). A piece owns some rows of one side, and the other side streams by in chunks:
//
//   side       own rows of    the others'     results
//   queries    q, dy          keys, values    dq = Σ slopes · keys
//   keys       keys, values   q, dy           dkeys = Σ slopes · q, dvalues = Σ weights · dy
//
// with weights = softmax of the scores and slopes = ∂loss/∂(q · key). Scores are computed for both sides; what that costs
// buys sums whose order does not depend on threads. This is the plain form: where there is no machine code it runs, and machine
// code is compared with it.
import { sumOf } from "./lanes";
import { capped4, exp4 } from "./math";
import { AttentionKeys, AttentionQueries, AttentionStats } from "./parameters";
import { rowSums } from "./row";
import { weighed } from "./softmax";
import { F32 } from "./stored";

// What stands where in the scratch: scores of a chunk, products dy · value, a result.
const PRODUCTS: usize = 1088;
const RESULT: usize = 2 * PRODUCTS;

/** No token's first key. */
const NEVER_SEEN: u32 = 0x7fffffff;

/** What the two sides need of each token: the keys that it sees, and of each head two numbers. */
export function attentionStats(p: AttentionStats, piece: u32, scratch: usize): void {
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

export function attentionQueries(p: AttentionQueries, piece: u32, scratch: usize): void {
  const head = piece % p.heads;
  // The last tokens see the most keys: they come first.
  const blocks = (p.tokens + p.pieceRows - 1) / p.pieceRows;
  const begin = (blocks - 1 - piece / p.heads) * p.pieceRows;
  const end = min(begin + p.pieceRows, p.tokens);
  const place = head * p.head * 4;
  const kvPlace = (head / p.group) * p.head * 4;
  const numbers = p.stats + (2 + 2 * head) * p.statsPitch;
  for (let token = begin; token < end; token++) {
    const seen = p.stats + token * 4;
    const first = load<u32>(seen);
    const last = load<u32>(seen + p.statsPitch);
    const lse = load<f32>(numbers + token * 4);
    const rest = load<f32>(numbers + token * 4 + p.statsPitch);
    const q = p.q + token * p.qPitch + place;
    const dy = p.dy + token * p.dyPitch + place;
    const dq = p.dq + token * p.dqPitch + place;
    memory.fill(dq, 0, p.head * 4);
    for (let start = (first / p.chunk) * p.chunk; start <= last; start += p.chunk) {
      const low = (max(first, start) - start) & ~3;
      const high = min(last + 1 - start, p.chunk);
      const keys = p.keys + (start + low) * p.keysPitch + kvPlace;
      const values = p.values + (start + low) * p.valuesPitch + kvPlace;
      rowSums<F32>(q, keys, p.keysPitch, high - low, p.head / 4, scratch + low * 4);
      rowSums<F32>(dy, values, p.valuesPitch, high - low, p.head / 4, scratch + PRODUCTS + low * 4);
      ofQuery(p, scratch, start, low, high, seen, lse, rest);
      addWeighed(p, scratch + low * 4, keys, p.keysPitch, high - low, dq, scratch);
    }
  }
}

export function attentionKeys(p: AttentionKeys, piece: u32, scratch: usize): void {
  const kvHead = piece % p.kvHeads;
  const begin = (piece / p.kvHeads) * p.pieceRows;
  const end = min(begin + p.pieceRows, p.positions);
  const kvPlace = kvHead * p.head * 4;
  for (let key = begin; key < end; key++) {
    const own = p.keys + key * p.keysPitch + kvPlace;
    const value = p.values + key * p.valuesPitch + kvPlace;
    const dkey = p.dkeys + key * p.dkeysPitch + kvPlace;
    const dvalue = p.dvalues + key * p.dvaluesPitch + kvPlace;
    if (p.dkeys) memory.fill(dkey, 0, p.head * 4);
    if (p.dvalues) memory.fill(dvalue, 0, p.head * 4);
    for (let start: u32 = 0; start < p.tokens; start += p.chunk) {
      // From the first to the last token of the chunk that sees the key.
      let low: u32 = 0;
      let high = min(p.chunk, p.tokens - start);
      while (low < high && !sees(p, start + low, key)) low++;
      while (high > low && !sees(p, start + high - 1, key)) high--;
      if (low == high) continue;
      low &= ~3;
      for (let head = kvHead * p.group; head < (kvHead + 1) * p.group; head++) {
        const place = head * p.head * 4;
        const q = p.q + (start + low) * p.qPitch + place;
        const dy = p.dy + (start + low) * p.dyPitch + place;
        rowSums<F32>(own, q, p.qPitch, high - low, p.head / 4, scratch + low * 4);
        rowSums<F32>(value, dy, p.dyPitch, high - low, p.head / 4, scratch + PRODUCTS + low * 4);
        ofKey(p, scratch, key, start, low, high, head);
        if (p.dkeys) addWeighed(p, scratch + low * 4, q, p.qPitch, high - low, dkey, scratch);
        if (p.dvalues) addWeighed(p, scratch + PRODUCTS + low * 4, dy, p.dyPitch, high - low, dvalue, scratch);
      }
    }
  }
}

/** Products of one query and the chunk's keys become slopes and, behind them, weights. */
function ofQuery(p: AttentionStats, at: usize, start: u32, low: u32, high: u32, seen: usize, lse: f32, rest: f32): void {
  const first = i32x4.splat(load<i32>(seen));
  const last = i32x4.splat(load<i32>(seen + p.statsPitch));
  const four = i32x4.splat(4);
  let key = i32x4.add(i32x4.splat(start + low), i32x4(0, 1, 2, 3));
  const lse4 = f32x4.splat(lse);
  const rest4 = f32x4.splat(rest);
  const scale = f32x4.splat(p.scale);
  const cap = p.cap;
  for (let col = low; col < high; col += 4) {
    const mask = v128.and(i32x4.ge_s(key, first), i32x4.le_s(key, last));
    weigh(scale, cap, at + col * 4, lse4, rest4, mask);
    key = i32x4.add(key, four);
  }
}

/** The same of one key and the chunk's queries of one head. */
function ofKey(p: AttentionStats, at: usize, key: u32, start: u32, low: u32, high: u32, head: u32): void {
  const key4 = i32x4.splat(key);
  const scale = f32x4.splat(p.scale);
  const cap = p.cap;
  const firsts = p.stats + start * 4;
  const lasts = firsts + p.statsPitch;
  const lse = firsts + (2 + 2 * head) * p.statsPitch;
  const rest = lse + p.statsPitch;
  for (let col: usize = low * 4; col < high * 4; col += 16) {
    const mask = v128.and(i32x4.le_s(v128.load(firsts + col), key4), i32x4.ge_s(v128.load(lasts + col), key4));
    weigh(scale, cap, at + col, v128.load(lse + col), v128.load(rest + col), mask);
  }
}

/** From q · key and dy · value of four pairs; zeros where the key is not seen. */
// @ts-ignore: decorator
@inline
function weigh(scale: v128, most: f32, at: usize, lse: v128, rest: v128, seen: v128): void {
  let score = f32x4.mul(scale, v128.load(at));
  let bend = scale;
  if (most != 0) {
    const cap = f32x4.splat(most);
    score = capped4(score, cap);
    const share = f32x4.div(score, cap);
    bend = f32x4.mul(scale, f32x4.sub(f32x4.splat(1), f32x4.mul(share, share)));
  }
  const weight = exp4(f32x4.sub(score, lse));
  const slope = f32x4.mul(f32x4.mul(bend, weight), f32x4.sub(v128.load(at + PRODUCTS), rest));
  v128.store(at, v128.and(slope, seen));
  v128.store(at + PRODUCTS, v128.and(weight, seen));
}

/** Adds a chunk's sum of weighed rows to what others came to. */
function addWeighed(p: AttentionStats, weights: usize, rows: usize, pitch: usize, count: u32, to: usize, scratch: usize): void {
  const result = scratch + RESULT;
  weighed<F32>(weights, rows, pitch, count, p.head, result);
  for (let at: usize = 0; at < p.head * 4; at += 16) {
    v128.store(to + at, f32x4.add(v128.load(to + at), v128.load(result + at)));
  }
}

/** Does a token see a key? */
// @ts-ignore: decorator
@inline
function sees(p: AttentionStats, token: u32, key: u32): bool {
  const at = p.stats + token * 4;
  return load<u32>(at) <= key && load<u32>(at + p.statsPitch) >= key;
}
