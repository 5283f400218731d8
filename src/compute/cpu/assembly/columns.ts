// Sums down columns.
import { MOST_TERMS } from "./lanes";
import { ColumnSums } from "./parameters";

/** Vectors of a piece: a cache line of each row. */
const GROUP: u32 = 4;

export function columnSums(p: ColumnSums, piece: u32, scratch: usize): void {
  if (p.b) groupSums(p, piece * GROUP, scratch, true);
  else groupSums(p, piece * GROUP, scratch, false);
}

/** The sums of four vectors of columns, of a or of a · b. */
// @ts-ignore: decorator
@inline
function groupSums(p: ColumnSums, first: u32, scratch: usize, times: bool): void {
  const none = f32x4.splat(0);
  // Behind the last vector, that one again.
  const o0: usize = first * 16;
  const o1: usize = min(first + 1, p.width - 1) * 16;
  const o2: usize = min(first + 2, p.width - 1) * 16;
  const o3: usize = min(first + 3, p.width - 1) * 16;
  let s0 = none;
  let s1 = none;
  let s2 = none;
  let s3 = none;
  let terms: u32 = 0;
  let blocks: u32 = 0;
  memory.fill(scratch, 0, 128);
  for (let row: u32 = 0; row < p.rows; row++) {
    let a = p.a + row * p.aPitch;
    let b = p.b + row * p.bPitch;
    for (let segment: u32 = 0; segment < p.segments; segment++) {
      let a0 = v128.load(a + o0);
      let a1 = v128.load(a + o1);
      let a2 = v128.load(a + o2);
      let a3 = v128.load(a + o3);
      if (times) {
        a0 = f32x4.mul(a0, v128.load(b + o0));
        a1 = f32x4.mul(a1, v128.load(b + o1));
        a2 = f32x4.mul(a2, v128.load(b + o2));
        a3 = f32x4.mul(a3, v128.load(b + o3));
      }
      s0 = f32x4.add(s0, a0);
      s1 = f32x4.add(s1, a1);
      s2 = f32x4.add(s2, a2);
      s3 = f32x4.add(s3, a3);
      a += p.width * 16;
      b += p.width * 16;
      if (++terms == MOST_TERMS) {
        addFour(scratch, s0, s1, s2, s3);
        (s0 = none), (s1 = none), (s2 = none), (s3 = none);
        terms = 0;
        if (++blocks == MOST_TERMS) {
          takeOver(scratch);
          blocks = 0;
        }
      }
    }
  }
  addFour(scratch, s0, s1, s2, s3);
  takeOver(scratch);
  const count = min(GROUP, p.width - first);
  memory.copy(p.y + o0, scratch + 64, count * 16);
}

/** Adds sums of 256 terms to those of 65,536. */
function addFour(to: usize, s0: v128, s1: v128, s2: v128, s3: v128): void {
  v128.store(to, f32x4.add(v128.load(to), s0));
  v128.store(to, f32x4.add(v128.load(to, 16), s1), 16);
  v128.store(to, f32x4.add(v128.load(to, 32), s2), 32);
  v128.store(to, f32x4.add(v128.load(to, 48), s3), 48);
}

/** Adds sums of 65,536 terms to those of all, and begins anew. */
function takeOver(at: usize): void {
  for (let i: usize = 0; i < 64; i += 16) {
    v128.store(at + i, f32x4.add(v128.load(at + i, 64), v128.load(at + i)), 64);
    v128.store(at + i, f32x4.splat(0));
  }
}
