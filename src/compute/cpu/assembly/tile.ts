// The heart of every product: six rows by eight columns, sums in registers. Each element's sum runs over the terms in
// their order, whatever else is computed beside it.

/** The sums of one tile over `terms` terms, at least one, of two panels, to six rows of eight, `pitch` bytes apart. */
export function tile(rows: usize, cols: usize, terms: u32, to: usize, pitch: usize): void {
  let s00 = f32x4.splat(0),
    s01 = f32x4.splat(0);
  let s10 = f32x4.splat(0),
    s11 = f32x4.splat(0);
  let s20 = f32x4.splat(0),
    s21 = f32x4.splat(0);
  let s30 = f32x4.splat(0),
    s31 = f32x4.splat(0);
  let s40 = f32x4.splat(0),
    s41 = f32x4.splat(0);
  let s50 = f32x4.splat(0),
    s51 = f32x4.splat(0);
  const end = cols + <usize>terms * 32;
  do {
    const b0 = v128.load(cols);
    const b1 = v128.load(cols, 16);
    let a = v128.load(rows);
    s00 = f32x4.add(s00, f32x4.mul(a, b0));
    s01 = f32x4.add(s01, f32x4.mul(a, b1));
    a = v128.load(rows, 16);
    s10 = f32x4.add(s10, f32x4.mul(a, b0));
    s11 = f32x4.add(s11, f32x4.mul(a, b1));
    a = v128.load(rows, 32);
    s20 = f32x4.add(s20, f32x4.mul(a, b0));
    s21 = f32x4.add(s21, f32x4.mul(a, b1));
    a = v128.load(rows, 48);
    s30 = f32x4.add(s30, f32x4.mul(a, b0));
    s31 = f32x4.add(s31, f32x4.mul(a, b1));
    a = v128.load(rows, 64);
    s40 = f32x4.add(s40, f32x4.mul(a, b0));
    s41 = f32x4.add(s41, f32x4.mul(a, b1));
    a = v128.load(rows, 80);
    s50 = f32x4.add(s50, f32x4.mul(a, b0));
    s51 = f32x4.add(s51, f32x4.mul(a, b1));
    cols += 32;
    rows += 96;
  } while (cols < end);
  v128.store(to, s00), v128.store(to, s01, 16);
  to += pitch;
  v128.store(to, s10), v128.store(to, s11, 16);
  to += pitch;
  v128.store(to, s20), v128.store(to, s21, 16);
  to += pitch;
  v128.store(to, s30), v128.store(to, s31, 16);
  to += pitch;
  v128.store(to, s40), v128.store(to, s41, 16);
  to += pitch;
  v128.store(to, s50), v128.store(to, s51, 16);
}
