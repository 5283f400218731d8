// Matrices as the tile reads them: term after term, the numbers of its rows or columns side by side; those of rows four times each.

/** Rows and columns of a tile. */
export const TILE_ROWS: u32 = 6;
export const TILE_COLS: u32 = 8;
/** Terms of a partial sum. */
export const BLOCK_TERMS: u32 = 256;

/** Bytes of a block's panel of columns and of rows. */
export const COLS_PANEL: usize = 8192; // BLOCK_TERMS * TILE_COLS * 4
export const ROWS_PANEL: usize = 24576; // BLOCK_TERMS * TILE_ROWS * 16

/** Four terms of four rows, each from its own address, to `stride` bytes a term. */
// @ts-ignore: decorator
@inline
export function transpose4(a: v128, b: v128, c: v128, d: v128, to: usize, stride: usize): void {
  const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  const abHigh = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const cdHigh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<i64>(ab, cd, 0, 2));
  v128.store(to + stride, v128.shuffle<i64>(ab, cd, 1, 3));
  v128.store(to + 2 * stride, v128.shuffle<i64>(abHigh, cdHigh, 0, 2));
  v128.store(to + 3 * stride, v128.shuffle<i64>(abHigh, cdHigh, 1, 3));
}

/** A panel of eight columns of a matrix whose rows are the terms. */
export function colsFromTerms(from: usize, pitch: usize, cols: u32, terms: u32, to: usize): void {
  if (cols < TILE_COLS) {
    memory.fill(to, 0, <usize>terms * 32);
    for (let term: u32 = 0; term < terms; term++) memory.copy(to + term * 32, from + term * pitch, cols * 4);
    return;
  }
  for (let term: u32 = 0; term < terms; term++) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
    from += pitch;
    to += 32;
  }
}

/**
 * A panel of up to six rows of a matrix whose rows run along the terms, each number four times: a load is one instruction
 * then, where a splat is three. In the place of missing rows stands the last one.
 */
export function rowsFromRows(from: usize, pitch: usize, rows: u32, terms: u32, to: usize): void {
  const whole = <usize>(terms & ~3);
  for (let row: u32 = 0; row < TILE_ROWS; row++) {
    let at = from + <usize>min(row, rows - 1) * pitch;
    let target = to + row * 16;
    const end = at + whole * 4;
    for (; at < end; at += 16) {
      const four = v128.load(at);
      v128.store(target, splat4(four, 0));
      v128.store(target, splat4(four, 1), 96);
      v128.store(target, splat4(four, 2), 192);
      v128.store(target, splat4(four, 3), 288);
      target += 384;
    }
    for (const last = at + (<usize>terms - whole) * 4; at < last; at += 4) {
      v128.store(target, v128.load32_splat(at));
      target += 96;
    }
  }
}

/** One of four numbers, four times. A swizzle by a constant is one instruction, a shuffle three. */
// @ts-ignore: decorator
@inline
function splat4(four: v128, lane: i32): v128 {
  return v128.swizzle(four, i32x4.splat(0x03020100 + lane * 0x04040404));
}
