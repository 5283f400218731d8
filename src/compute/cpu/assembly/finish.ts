import { lanesBefore, largestOf, MOST_TERMS, sumOf } from "./lanes";
import { Finish } from "./parameters";
import { BF16, F16, F32, Format, is, load4, rounded4, store4, storedBytes } from "./stored";

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
  const width = p.width;
  const delta = p.delta;
  const weight = p.weight;
  const target = p.target;
  const roundDelta = p.roundDelta;
  const lastInside = lanesBefore(<i32>(width - 1) * 4, <i32>p.cols);
  const infinite = i32x4.splat(0x7f800000);
  let most = f32x4.splat(0);
  let squares = f32x4.splat(0);
  let changed = i32x4.splat(0);
  let broken = i32x4.splat(0);
  let index = piece * p.pieceVectors;
  let vector = index % width;
  // Elements before this one, as rows are apart.
  let at = <usize>(index / width) * p.pitch + vector * 4;
  const gap = <usize>p.pitch - width * 4;
  while (index < end) {
    const stop = min(index + MOST_TERMS, end);
    let sum = f32x4.splat(0);
    for (; index < stop; index++, at += 4, vector++) {
      if (vector == width) {
        vector = 0;
        at += gap;
      }
      let change = v128.load(delta + at * 4);
      let old = weight ? load4<S>(weight + storedBytes<S>(at)) : f32x4.splat(0);
      if (vector == width - 1) {
        change = v128.and(lastInside, change);
        old = v128.and(lastInside, old);
      }
      if (roundDelta) change = rounded4<T>(change);
      const value = f32x4.add(old, change);
      store4<T>(target + storedBytes<T>(at), value);
      const after = rounded4<T>(value);
      // Bits of numbers without sign have the order of the numbers, and f32x4.max takes six instructions.
      most = i32x4.max_s(most, f32x4.abs(change));
      sum = f32x4.add(sum, f32x4.mul(change, change));
      // What was stored in the target's format is rounded already.
      changed = i32x4.add(changed, i32x4.ne(is<T, S>() ? old : rounded4<T>(old), after));
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
