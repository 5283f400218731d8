// The softmax of a pair of a token and a head, chunk after chunk (Milakov and Gimelshein, arXiv:1805.02867). A record of a
// chunk, and a state of all so far: the largest score, Σ exp(score − largest), two words of nothing, Σ exp · value.
import { largestOf, sumOf } from "./lanes";
import { capped4, exp1, exp4 } from "./math";
import { load4, storedBytes } from "./stored";

/** Keys of a chunk. */
export const CHUNK: u32 = 256;
/** Below every score. */
const NEVER: f32 = -3.0e38;

/**
 * Products q · key of keys `first` … `end` − 1 of a chunk become exp(score − top), in whole vectors with zeros in the place
 * of other keys; top and the sum go to `record`.
 */
export function softmax(scores: usize, first: u32, end: u32, scale: f32, cap: f32, record: usize): void {
  const from = scores + (first & ~3) * 4;
  const to = scores + ((end + 3) & ~3) * 4;
  const scale4 = f32x4.splat(scale);
  if (cap != 0) {
    const cap4 = f32x4.splat(cap);
    for (let at = from; at < to; at += 16) {
      v128.store(at, capped4(f32x4.mul(v128.load(at), scale4), cap4));
    }
  } else {
    for (let at = from; at < to; at += 16) v128.store(at, f32x4.mul(v128.load(at), scale4));
  }
  for (let key = first & ~3; key < first; key++) store<f32>(scores + key * 4, -Infinity);
  for (let key = end; (key & 3) != 0; key++) store<f32>(scores + key * 4, -Infinity);
  let most = f32x4.splat(NEVER);
  for (let at = from; at < to; at += 16) most = f32x4.pmax(most, v128.load(at));
  const top = largestOf(most);
  const top4 = f32x4.splat(top);
  let sum = f32x4.splat(0);
  for (let at = from; at < to; at += 16) {
    const weight = exp4(f32x4.sub(v128.load(at), top4));
    v128.store(at, weight);
    sum = f32x4.add(sum, weight);
  }
  store<f32>(record, top);
  store<f32>(record, sumOf(sum), 4);
}

/** Σ weight · value over keys, in their order, of `head` elements in a format. */
export function weighed<T>(weights: usize, values: usize, pitch: usize, keys: u32, head: u32, to: usize): void {
  memory.fill(to, 0, head * 4);
  for (let key: u32 = 0; key < keys; key++) {
    const weight = v128.load32_splat(weights + key * 4);
    for (let at: usize = 0; at < head * 4; at += 16) {
      v128.store(to + at, f32x4.add(v128.load(to + at), f32x4.mul(weight, load4<T>(values + storedBytes<T>(at / 4)))));
    }
    values += pitch;
  }
}

/** The state of a pair that has seen nothing. */
export function begin(state: usize, bytes: usize): void {
  memory.fill(state, 0, bytes);
  store<f32>(state, NEVER);
}

/** A chunk enters a pair's state. */
export function enter(state: usize, record: usize, head: u32): void {
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
