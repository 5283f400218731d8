import { lanesBefore, largestOf, MOST_TERMS, sumOf } from "./lanes";
import { Finish } from "./parameters";
import { BF16, F16, F32, Format, load4, rounded4, store4, storedBytes } from "./stored";

export function finish(p: Finish, piece: u32, scratch: usize): void {
  if (p.targetDtype == Format.F32) finishTo<F32>(p, piece);
  else if (p.targetDtype == Format.F16) finishTo<F16>(p, piece);
  else finishTo<BF16>(p, piece);
}

function finishTo<T>(p: Finish, piece: u32): void {
  if (p.sourceDtype == Format.F32) finishFrom<T, F32>(p, piece);
  else if (p.sourceDtype == Format.F16) finishFrom<T, F16>(p, piece);
  else finishFrom<T, BF16>(p, piece);
}

function finishFrom<T, S>(p: Finish, piece: u32): void {
  const end = min((piece + 1) * p.pieceVectors, p.vectors);
  const lastInside = lanesBefore(<i32>(p.width - 1) * 4, <i32>p.cols);
  const infinite = i32x4.splat(0x7f800000);
  let most = f32x4.splat(0);
  let squares = f32x4.splat(0);
  let changed = i32x4.splat(0);
  let broken = i32x4.splat(0);
  let index = piece * p.pieceVectors;
  let vector = index % p.width;
  let row = index / p.width;
  while (index < end) {
    const stop = min(index + MOST_TERMS, end);
    let sum = f32x4.splat(0);
    for (; index < stop; index++) {
      const at = row * p.pitch + vector * 4;
      const isLast = ++vector == p.width;
      if (isLast) {
        vector = 0;
        row++;
      }
      const inside = isLast ? lastInside : i32x4.splat(-1);
      let change = v128.and(inside, v128.load(p.delta + at * 4));
      if (p.roundDelta) change = rounded4<T>(change);
      let old = f32x4.splat(0);
      if (p.weight) old = v128.and(inside, load4<S>(p.weight + storedBytes<S>(at)));
      const value = f32x4.add(old, change);
      store4<T>(p.target + storedBytes<T>(at), value);
      const after = rounded4<T>(value);
      most = f32x4.max(most, f32x4.abs(change));
      sum = f32x4.add(sum, f32x4.mul(change, change));
      changed = i32x4.add(changed, i32x4.ne(rounded4<T>(old), after));
      broken = i32x4.add(broken, i32x4.eq(v128.and(after, infinite), infinite));
    }
    squares = f32x4.add(squares, sum);
  }
  const to = p.statistics + piece * 16;
  store<f32>(to, largestOf(most));
  store<f32>(to, sumOf(squares), 4);
  store<f32>(to, -sumOf(f32x4.convert_i32x4_s(changed)), 8);
  store<f32>(to, -sumOf(f32x4.convert_i32x4_s(broken)), 12);
}
