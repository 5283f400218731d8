// Products of rows with rows, as attention has them of queries and keys: both run along the terms, so a vector holds four terms, and
// each lane of a sum has every fourth one. One row or many, the sums are the same to the last bit.

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
export function rowPanel(from: usize, pitch: usize, rows: u32, vectors: u32, to: usize): void {
  for (let row: u32 = 0; row < TILE_W; row++) {
    const w = from + min(row, rows - 1) * pitch;
    // One row after the other, as memory likes it.
    for (let at: u32 = 0; at < vectors; at++) v128.store(to + row * 16 + at * 96, v128.load(w + at * 16));
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

/** The products of one row of f32 with `count` others. */
export function rowSums(x: usize, w: usize, pitch: usize, count: u32, vectors: u32, to: usize): void {
  for (let row: u32 = 0; row < count; row++) {
    let sum = f32x4.splat(0);
    for (let at: u32 = 0; at < vectors; at++) sum = f32x4.add(sum, f32x4.mul(v128.load(x + at * 16), v128.load(w + at * 16)));
    store<f32>(to + row * 4, lanes(sum));
    w += pitch;
  }
}
