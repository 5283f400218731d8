// Products of a row with rows, as attention has them of queries and keys: both run along the terms, so a vector holds four terms, and
// each lane of a sum has every fourth one.
import { load4, storedBytes } from "./stored";

/** The sum of four lanes. */
// @ts-ignore: decorator
@inline
function lanes(s: v128): f32 {
  return (
    f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 1) + (f32x4.extract_lane(s, 2) + f32x4.extract_lane(s, 3))
  );
}

/** The products of one row of f32 with `count` others in a format. */
export function rowSums<T>(x: usize, w: usize, pitch: usize, count: u32, vectors: u32, to: usize): void {
  for (let row: u32 = 0; row < count; row++) {
    let sum = f32x4.splat(0);
    for (let at: u32 = 0; at < vectors; at++) sum = f32x4.add(sum, f32x4.mul(v128.load(x + at * 16), load4<T>(w + storedBytes<T>(at * 4))));
    store<f32>(to + row * 4, lanes(sum));
    w += pitch;
  }
}
