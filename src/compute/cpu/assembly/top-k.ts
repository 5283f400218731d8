// The k largest numbers of a row, largest first; of equal ones the lower id first. Those so far are a heap of pairs
// (value, id) whose root is the worst: candidates come by ascending id, so a new one must be larger than that.
import { TopK } from "./parameters";

/** What is no number, or infinite, counts as the largest. */
const MOST: f32 = 3.4028234663852886e38;
/** The id of a place that a short chunk does not fill. */
const NOBODY: u32 = 0xffffffff;

export function topK(p: TopK, piece: u32, scratch: usize): void {
  const row = piece / p.chunks;
  const chunk = piece % p.chunks;
  const x = p.x + row * p.xPitch;
  const ids = p.ids ? p.ids + row * p.idsPitch : 0;
  const first = chunk * p.chunk;
  const last = min(first + p.chunk, p.count);
  const found = p.k == 1 && !ids ? largest(x, first, last, scratch) : search(x, ids, first, last, p.k, scratch);
  const values = p.toValues + row * p.toValuesPitch + chunk * p.k * 4;
  const toIds = p.toIds + row * p.toIdsPitch + chunk * p.k * 4;
  for (let rank = p.k; rank > found; rank--) {
    store<f32>(values + (rank - 1) * 4, -MOST);
    store<u32>(toIds + (rank - 1) * 4, NOBODY);
  }
  for (let rank = found; rank > 0; rank--) {
    store<f32>(values + (rank - 1) * 4, load<f32>(scratch));
    store<u32>(toIds + (rank - 1) * 4, load<u32>(scratch, 4));
    sink(scratch, rank - 1, load<f32>(scratch + (rank - 1) * 8), load<u32>(scratch + (rank - 1) * 8, 4));
  }
}

/** Within what can be compared; NaN is more than any number. */
// @ts-ignore: decorator
@inline
function clamped(x: v128): v128 {
  return f32x4.pmin(f32x4.splat(MOST), f32x4.pmax(x, f32x4.splat(-MOST)));
}

/** The value of one element. */
// @ts-ignore: decorator
@inline
function valueAt(x: usize, index: u32): f32 {
  return f32x4.extract_lane(clamped(v128.load32_splat(x + index * 4)), 0);
}

/** The largest alone. @returns how many there are: one */
function largest(x: usize, first: u32, last: u32, to: usize): u32 {
  let at = first;
  let most = clamped(v128.load32_splat(x + first * 4));
  for (; at + 4 <= last; at += 4) most = f32x4.pmax(most, clamped(v128.load(x + at * 4)));
  let value = f32x4.extract_lane(most, 0);
  value = max(value, f32x4.extract_lane(most, 1));
  value = max(value, f32x4.extract_lane(most, 2));
  value = max(value, f32x4.extract_lane(most, 3));
  for (; at < last; at++) value = max(value, valueAt(x, at));
  let id = first;
  const wanted = f32x4.splat(value);
  while (id + 4 <= last && !v128.any_true(f32x4.eq(clamped(v128.load(x + id * 4)), wanted))) id += 4;
  while (valueAt(x, id) != value) id++;
  store<f32>(to, value);
  store<u32>(to, id, 4);
  return 1;
}

/** Fills the heap. @returns how many are in it */
function search(x: usize, ids: usize, first: u32, last: u32, k: u32, heap: usize): u32 {
  let count: u32 = 0;
  let at = first;
  for (; at < last && count < k; at++) {
    const id = ids ? load<u32>(ids + at * 4) : at;
    if (id == NOBODY) continue;
    rise(heap, count, valueAt(x, at), id);
    count++;
  }
  while (at < last) {
    const worst = load<f32>(heap);
    if (at + 4 <= last && !v128.any_true(f32x4.gt(clamped(v128.load(x + at * 4)), f32x4.splat(worst)))) {
      at += 4;
      continue;
    }
    const end = min(at + 4, last);
    for (; at < end; at++) {
      const value = valueAt(x, at);
      const id = ids ? load<u32>(ids + at * 4) : at;
      if (value > load<f32>(heap) && id != NOBODY) sink(heap, count, value, id);
    }
  }
  return count;
}

/** Does a pair come after another? */
// @ts-ignore: decorator
@inline
function isWorse(value: f32, id: u32, otherValue: f32, otherId: u32): bool {
  return value < otherValue || (value == otherValue && id > otherId);
}

/** Adds a pair behind the last of `count`. */
function rise(heap: usize, count: u32, value: f32, id: u32): void {
  let at = count;
  while (at > 0) {
    const parent = heap + ((at - 1) / 2) * 8;
    if (!isWorse(value, id, load<f32>(parent), load<u32>(parent, 4))) break;
    store<u64>(heap + at * 8, load<u64>(parent));
    at = (at - 1) / 2;
  }
  store<f32>(heap + at * 8, value);
  store<u32>(heap + at * 8, id, 4);
}

/** Puts a pair in the place of the root of a heap of `count`. */
function sink(heap: usize, count: u32, value: f32, id: u32): void {
  let at: u32 = 0;
  for (;;) {
    let child: u32 = 2 * at + 1;
    if (child >= count) break;
    let place = heap + child * 8;
    const other = place + 8;
    if (
      child + 1 < count &&
      isWorse(load<f32>(other), load<u32>(other, 4), load<f32>(place), load<u32>(place, 4))
    ) {
      child++;
      place = other;
    }
    if (!isWorse(load<f32>(place), load<u32>(place, 4), value, id)) break;
    store<u64>(heap + at * 8, load<u64>(place));
    at = child;
  }
  store<f32>(heap + at * 8, value);
  store<u32>(heap + at * 8, id, 4);
}
