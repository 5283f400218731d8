// Products of a few rows with the rows of a stored matrix, straight from where they lie: for so few, what it takes to make a panel
// of them is more than what it saves. Sums are those of row.ts, to the last bit.
import { lanes } from "./row";
import { first4, last4, load4, storedBytes } from "./stored";

/** So many rows at most; one has a function of its own. */
export const FEW_ROWS: u32 = 4;

/**
 * The products of `rows` rows of f32 with `count` rows as they are stored, four of which stay in the first-level cache while
 * rows take them two by two. Sums have room for whole vectors, and for another row.
 */
export function fewRows<T>(
  x: usize, xPitch: usize, rows: u32, w: usize, pitch: usize, count: u32, vectors: u32, to: usize, toPitch: usize,
): void {
  for (let row: u32 = 0; row < count; row += 4) {
    const last = count - row - 1;
    const a = w + row * pitch;
    const b = a + min(1, last) * pitch;
    const c = a + min(2, last) * pitch;
    const d = a + min(3, last) * pitch;
    for (let at: u32 = 0; at < rows; at += 2) {
      const other = at + 1 < rows ? xPitch : 0;
      twoByFour<T>(x + at * xPitch, other, a, b, c, d, vectors, to + at * toPitch, toPitch);
    }
    to += 16;
  }
}

/** Two rows, `other` bytes apart, with four of the matrix. */
function twoByFour<T>(
  x: usize, other: usize, a: usize, b: usize, c: usize, d: usize, vectors: u32, to: usize, toPitch: usize,
): void {
  let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0);
  let t0 = f32x4.splat(0), t1 = f32x4.splat(0), t2 = f32x4.splat(0), t3 = f32x4.splat(0);
  let x1 = x + other;
  const end = x + <usize>(vectors & ~1) * 16;
  while (x < end) {
    const low = v128.load(x);
    const high = v128.load(x, 16);
    const lowOther = v128.load(x1);
    const highOther = v128.load(x1, 16);
    let v = v128.load(a);
    let half = first4<T>(v);
    s0 = f32x4.add(s0, f32x4.mul(low, half));
    t0 = f32x4.add(t0, f32x4.mul(lowOther, half));
    half = last4<T>(v, a);
    s0 = f32x4.add(s0, f32x4.mul(high, half));
    t0 = f32x4.add(t0, f32x4.mul(highOther, half));
    v = v128.load(b);
    half = first4<T>(v);
    s1 = f32x4.add(s1, f32x4.mul(low, half));
    t1 = f32x4.add(t1, f32x4.mul(lowOther, half));
    half = last4<T>(v, b);
    s1 = f32x4.add(s1, f32x4.mul(high, half));
    t1 = f32x4.add(t1, f32x4.mul(highOther, half));
    v = v128.load(c);
    half = first4<T>(v);
    s2 = f32x4.add(s2, f32x4.mul(low, half));
    t2 = f32x4.add(t2, f32x4.mul(lowOther, half));
    half = last4<T>(v, c);
    s2 = f32x4.add(s2, f32x4.mul(high, half));
    t2 = f32x4.add(t2, f32x4.mul(highOther, half));
    v = v128.load(d);
    half = first4<T>(v);
    s3 = f32x4.add(s3, f32x4.mul(low, half));
    t3 = f32x4.add(t3, f32x4.mul(lowOther, half));
    half = last4<T>(v, d);
    s3 = f32x4.add(s3, f32x4.mul(high, half));
    t3 = f32x4.add(t3, f32x4.mul(highOther, half));
    a += storedBytes<T>(8);
    b += storedBytes<T>(8);
    c += storedBytes<T>(8);
    d += storedBytes<T>(8);
    x += 32;
    x1 += 32;
  }
  if (vectors & 1) {
    const v = v128.load(x);
    const o = v128.load(x1);
    let half = load4<T>(a);
    s0 = f32x4.add(s0, f32x4.mul(v, half));
    t0 = f32x4.add(t0, f32x4.mul(o, half));
    half = load4<T>(b);
    s1 = f32x4.add(s1, f32x4.mul(v, half));
    t1 = f32x4.add(t1, f32x4.mul(o, half));
    half = load4<T>(c);
    s2 = f32x4.add(s2, f32x4.mul(v, half));
    t2 = f32x4.add(t2, f32x4.mul(o, half));
    half = load4<T>(d);
    s3 = f32x4.add(s3, f32x4.mul(v, half));
    t3 = f32x4.add(t3, f32x4.mul(o, half));
  }
  store<f32>(to, lanes(s0)), store<f32>(to, lanes(s1), 4), store<f32>(to, lanes(s2), 8), store<f32>(to, lanes(s3), 12);
  to += toPitch;
  store<f32>(to, lanes(t0)), store<f32>(to, lanes(t1), 4), store<f32>(to, lanes(t2), 8), store<f32>(to, lanes(t3), 12);
}
