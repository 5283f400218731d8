// Where tiles of B̂Ŝ go: ΔW as it is, or transposed.
import { DeltaTarget } from "./parameters";

/**
 * Takes a block's sums over: `rows` rows of `cols` columns, `sumsPitch` bytes apart. What pads a row of the target to whole
 * vectors becomes zero; sums beyond the last column of Ŝ are zero.
 */
export function storeTile(
  p: DeltaTarget,
  row: u32,
  rows: u32,
  col: u32,
  cols: u32,
  isFirst: bool,
  sums: usize,
  sumsPitch: usize,
): void {
  const adds = !isFirst || p.accumulate != 0;
  const scale = f32x4.splat(p.scale);
  if (!p.transposed) {
    for (let i: u32 = 0; i < rows; i++) {
      const to = p.target + (row + i) * p.targetPitch + col * 4;
      const from = sums + i * sumsPitch;
      for (let at: u32 = 0; at < cols; at += 4) take(to + at * 4, f32x4.mul(scale, v128.load(from + at * 4)), adds);
    }
    return;
  }
  let i: u32 = 0;
  for (; i + 4 <= rows; i += 4) {
    for (let at: u32 = 0; at < cols; at += 4) {
      const from = sums + i * sumsPitch + at * 4;
      const a = v128.load(from);
      const b = v128.load(from + sumsPitch);
      const c = v128.load(from + 2 * sumsPitch);
      const d = v128.load(from + 3 * sumsPitch);
      const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
      const cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
      const abHigh = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
      const cdHigh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
      const to = p.target + (col + at) * p.targetPitch + (row + i) * 4;
      const there = cols - at;
      take(to, f32x4.mul(scale, v128.shuffle<i64>(ab, cd, 0, 2)), adds);
      if (there > 1) take(to + p.targetPitch, f32x4.mul(scale, v128.shuffle<i64>(ab, cd, 1, 3)), adds);
      if (there > 2) take(to + 2 * p.targetPitch, f32x4.mul(scale, v128.shuffle<i64>(abHigh, cdHigh, 0, 2)), adds);
      if (there > 3) take(to + 3 * p.targetPitch, f32x4.mul(scale, v128.shuffle<i64>(abHigh, cdHigh, 1, 3)), adds);
    }
  }
  const padding = row + rows == p.rows ? (0 - p.rows) & 3 : 0;
  for (let at: u32 = 0; at < cols; at++) {
    const to = p.target + (col + at) * p.targetPitch + row * 4;
    for (let rest = i; rest < rows; rest++) {
      const sum = p.scale * load<f32>(sums + rest * sumsPitch + at * 4);
      store<f32>(to + rest * 4, adds ? load<f32>(to + rest * 4) + sum : sum);
    }
    for (let rest = rows; rest < rows + padding; rest++) store<f32>(to + rest * 4, 0);
  }
}

// @ts-ignore: decorator
@inline
function take(to: usize, value: v128, adds: bool): void {
  v128.store(to, adds ? f32x4.add(v128.load(to), value) : value);
}
