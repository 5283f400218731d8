// What rows of groups have in common: group g is rows begins[g] … begins[g + 1] − 1.
import { MOST_TERMS } from "./lanes";
import { GroupBias, GroupSums } from "./parameters";

/** The biases of rows' groups are added; a piece is some rows. */
export function groupBias(p: GroupBias, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  const size: usize = p.cols * 4;
  let group: u32 = 0;
  for (let row = piece * p.pieceRows; row < last; row++) {
    while (load<u32>(p.begins + (group + 1) * 4) <= row && group + 1 < p.groups) group++;
    const x = p.x + row * p.xPitch;
    const y = p.y + row * p.yPitch;
    const bias = p.bias + group * size;
    let at: usize = 0;
    for (; at + 16 <= size; at += 16) v128.store(y + at, f32x4.add(v128.load(x + at), v128.load(bias + at)));
    for (; at < size; at += 4) store<f32>(y + at, load<f32>(x + at) + load<f32>(bias + at));
    for (; at & 15; at += 4) store<f32>(y + at, 0);
  }
}

/** Sums over the rows of each group; a piece is a group. */
export function groupSums(p: GroupSums, piece: u32, scratch: usize): void {
  const begin = load<u32>(p.begins + piece * 4);
  const end = load<u32>(p.begins + piece * 4, 4);
  const size: usize = p.cols * 4;
  const y = p.y + piece * size;
  let at: usize = 0;
  for (; at + 16 <= size; at += 16) {
    let total = f32x4.splat(0);
    for (let first = begin; first < end; first += MOST_TERMS) {
      let sum = f32x4.splat(0);
      const last = min(first + MOST_TERMS, end);
      for (let row = first; row < last; row++) sum = f32x4.add(sum, v128.load(p.x + row * p.xPitch + at));
      total = f32x4.add(total, sum);
    }
    v128.store(y + at, total);
  }
  for (; at < size; at += 4) {
    let total: f32 = 0;
    for (let first = begin; first < end; first += MOST_TERMS) {
      let sum: f32 = 0;
      const last = min(first + MOST_TERMS, end);
      for (let row = first; row < last; row++) sum += load<f32>(p.x + row * p.xPitch + at);
      total += sum;
    }
    store<f32>(y + at, total);
  }
  if (piece + 1 == p.groups) for (let col = p.groups * p.cols; col & 3; col++) store<f32>(p.y + col * 4, 0);
}
