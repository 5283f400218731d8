// Products with the rows of a matrix, as a linear layer has them: both operands run along the terms, so a vector holds
// four terms, and each lane of a sum has every fourth one. One row or many, the sums are the same to the last bit.
import { first4, last4, load4, storedBytes } from "./stored";

/** Rows of x and of the matrix in a tile of `rowTile`. */
export const TILE_X: u32 = 2;
export const TILE_W: u32 = 6;

/** The sum of four lanes. */
// @ts-ignore: decorator
@inline
export function lanes(s: v128): f32 {
  return (
    f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 1) + (f32x4.extract_lane(s, 2) + f32x4.extract_lane(s, 3))
  );
}

/** A panel of six rows: four terms of each, side by side. Missing rows are the last one. */
export function rowPanel<T>(from: usize, pitch: usize, rows: u32, vectors: u32, to: usize): void {
  for (let row: u32 = 0; row < TILE_W; row++) {
    let w = from + min(row, rows - 1) * pitch;
    let target = to + row * 16;
    // One row after the other, as memory likes it.
    for (const end = w + storedBytes<T>((vectors & ~1) * 4); w < end; w += storedBytes<T>(8)) {
      const v = v128.load(w);
      v128.store(target, first4<T>(v));
      v128.store(target, last4<T>(v, w), 96);
      target += 192;
    }
    if (vectors & 1) v128.store(target, load4<T>(w));
  }
}

/** The products of two rows of f32 with a panel, six numbers to each of two addresses. */
export function rowTile(x: usize, other: usize, panel: usize, vectors: u32, to: usize, toOther: usize): void {
  let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0), s4 = f32x4.splat(0), s5 = f32x4.splat(0);
  let t0 = f32x4.splat(0), t1 = f32x4.splat(0), t2 = f32x4.splat(0);
  let t3 = f32x4.splat(0), t4 = f32x4.splat(0), t5 = f32x4.splat(0);
  const end = panel + <usize>vectors * 96;
  while (panel < end) {
    const a = v128.load(x);
    const b = v128.load(other);
    let w = v128.load(panel);
    s0 = f32x4.add(s0, f32x4.mul(a, w));
    t0 = f32x4.add(t0, f32x4.mul(b, w));
    w = v128.load(panel, 16);
    s1 = f32x4.add(s1, f32x4.mul(a, w));
    t1 = f32x4.add(t1, f32x4.mul(b, w));
    w = v128.load(panel, 32);
    s2 = f32x4.add(s2, f32x4.mul(a, w));
    t2 = f32x4.add(t2, f32x4.mul(b, w));
    w = v128.load(panel, 48);
    s3 = f32x4.add(s3, f32x4.mul(a, w));
    t3 = f32x4.add(t3, f32x4.mul(b, w));
    w = v128.load(panel, 64);
    s4 = f32x4.add(s4, f32x4.mul(a, w));
    t4 = f32x4.add(t4, f32x4.mul(b, w));
    w = v128.load(panel, 80);
    s5 = f32x4.add(s5, f32x4.mul(a, w));
    t5 = f32x4.add(t5, f32x4.mul(b, w));
    panel += 96;
    x += 16;
    other += 16;
  }
  store<f32>(to, lanes(s0)), store<f32>(to, lanes(s1), 4), store<f32>(to, lanes(s2), 8);
  store<f32>(to, lanes(s3), 12), store<f32>(to, lanes(s4), 16), store<f32>(to, lanes(s5), 20);
  store<f32>(toOther, lanes(t0)), store<f32>(toOther, lanes(t1), 4), store<f32>(toOther, lanes(t2), 8);
  store<f32>(toOther, lanes(t3), 12), store<f32>(toOther, lanes(t4), 16), store<f32>(toOther, lanes(t5), 20);
}

/** The products of one row of f32 with `count` rows as they are stored: what it takes is to read these. */
export function rowSums<T>(x: usize, w: usize, pitch: usize, count: u32, vectors: u32, to: usize): void {
  let row: u32 = 0;
  for (; row + 4 <= count; row += 4) {
    fourRows<T>(x, w + row * pitch, pitch, vectors, to);
    to += 16;
  }
  for (; row < count; row++) {
    let sum = f32x4.splat(0);
    const from = w + row * pitch;
    for (let at: u32 = 0; at < vectors; at++) {
      sum = f32x4.add(sum, f32x4.mul(v128.load(x + at * 16), load4<T>(from + storedBytes<T>(at * 4))));
    }
    store<f32>(to, lanes(sum));
    to += 4;
  }
}

/** The products of one row with four. */
// @ts-ignore: decorator
@inline
function fourRows<T>(x: usize, a: usize, pitch: usize, vectors: u32, to: usize): void {
  let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0);
  let b = a + pitch;
  let c = b + pitch;
  let d = c + pitch;
  const end = x + <usize>(vectors & ~1) * 16;
  while (x < end) {
    const low = v128.load(x);
    const high = v128.load(x, 16);
    const va = v128.load(a);
    s0 = f32x4.add(f32x4.add(s0, f32x4.mul(low, first4<T>(va))), f32x4.mul(high, last4<T>(va, a)));
    const vb = v128.load(b);
    s1 = f32x4.add(f32x4.add(s1, f32x4.mul(low, first4<T>(vb))), f32x4.mul(high, last4<T>(vb, b)));
    const vc = v128.load(c);
    s2 = f32x4.add(f32x4.add(s2, f32x4.mul(low, first4<T>(vc))), f32x4.mul(high, last4<T>(vc, c)));
    const vd = v128.load(d);
    s3 = f32x4.add(f32x4.add(s3, f32x4.mul(low, first4<T>(vd))), f32x4.mul(high, last4<T>(vd, d)));
    a += storedBytes<T>(8);
    b += storedBytes<T>(8);
    c += storedBytes<T>(8);
    d += storedBytes<T>(8);
    x += 32;
  }
  if (vectors & 1) {
    const v = v128.load(x);
    s0 = f32x4.add(s0, f32x4.mul(v, load4<T>(a)));
    s1 = f32x4.add(s1, f32x4.mul(v, load4<T>(b)));
    s2 = f32x4.add(s2, f32x4.mul(v, load4<T>(c)));
    s3 = f32x4.add(s3, f32x4.mul(v, load4<T>(d)));
  }
  store<f32>(to, lanes(s0)), store<f32>(to, lanes(s1), 4), store<f32>(to, lanes(s2), 8), store<f32>(to, lanes(s3), 12);
}
