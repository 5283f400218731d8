// The gradients of attention by tiles of scores, so that no matrix of tokens × positions exists (algorithm 4 of Dao et al.,
// arXiv:2205.14135). A piece owns some rows of one side, and the other side streams by in chunks:
//
//   side       own rows of    the others'     results
//   queries    q, dy          keys, values    dq = Σ slopes · keys
//   keys       keys, values   q, dy           dkeys = Σ slopes · q, dvalues = Σ weights · dy
//
// with weights = softmax of the scores and slopes = ∂loss/∂(q · key). Scores are computed for both sides; what that costs
// buys sums whose order does not depend on threads.
import {
  addProduct,
  AttentionGradient,
  ofKey,
  ofQuery,
  OTHER_SUMS,
  PANELS,
  PRODUCTS,
  products,
  rowPanels,
  rowPanelsBytes,
  SLOPES,
  storeRows,
  SUMS,
  termPanels,
  termPanelsBytes,
  WEIGHTS,
} from "./attention-tiles";
import { sumOf } from "./lanes";
import { rowsFromRows, TILE_ROWS } from "./panels";
import { SCORES_PITCH } from "./softmax";

/** No token's first key. */
const NEVER_SEEN: u32 = 0x7fffffff;

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
