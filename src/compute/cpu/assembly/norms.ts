// What a row kernel's norm does, for kernels that begin with it.
import { MOST_TERMS, sumOf } from "./lanes";

/** One segment, which may be normalized where it lies. */
export function normalize(x: usize, weight: usize, cols: u32, offset: f32, epsilon: f32, y: usize): void {
  const bytes = wholeBytes(cols);
  const offset4 = f32x4.splat(offset);
  const scale = f32x4.splat(<f32>1 / sqrt<f32>(dot(x, x, bytes) / <f32>cols + epsilon));
  // The weight is zero beyond the last element; so must y be, and there x is.
  for (let at: usize = 0; at < bytes; at += 16) {
    const factor = f32x4.add(offset4, v128.load(weight + at));
    v128.store(y + at, f32x4.mul(f32x4.mul(v128.load(x + at), scale), factor));
  }
}

/** Bytes of so many numbers, padded to whole vectors. */
// @ts-ignore: decorator
@inline
function wholeBytes(cols: u32): usize {
  return ((cols + 3) & ~3) * 4;
}

/** Each lane adds up 256 terms, then what those come to. */
function dot(a: usize, b: usize, bytes: usize): f32 {
  let total = f32x4.splat(0);
  for (let begin: usize = 0; begin < bytes; begin += MOST_TERMS * 16) {
    const end = min(begin + MOST_TERMS * 16, bytes);
    let part = f32x4.splat(0);
    for (let at = begin; at < end; at += 16) {
      part = f32x4.add(part, f32x4.mul(v128.load(a + at), v128.load(b + at)));
    }
    total = f32x4.add(total, part);
  }
  return sumOf(total);
}
