// Four numbers as one, and some of four.

/** Terms of a partial sum. */
export const MOST_TERMS: u32 = 256;

/** The sum of four lanes. */
// @ts-ignore: decorator
@inline
export function sumOf(a: v128): f32 {
  const pairs = f32x4.add(a, v128.shuffle<i32>(a, a, 2, 3, 0, 1));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/** The largest of four lanes. */
// @ts-ignore: decorator
@inline
export function largestOf(a: v128): f32 {
  const pairs = f32x4.pmax(a, v128.shuffle<i32>(a, a, 2, 3, 0, 1));
  return max(f32x4.extract_lane(pairs, 0), f32x4.extract_lane(pairs, 1));
}

/** Which lanes of the vector that begins at element `first` lie before `end`, as a mask. */
// @ts-ignore: decorator
@inline
export function lanesBefore(first: i32, end: i32): v128 {
  return i32x4.lt_s(i32x4.add(i32x4.splat(first), i32x4(0, 1, 2, 3)), i32x4.splat(end));
}
