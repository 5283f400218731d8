// Ŝ as products take it: panels of some columns, term after term, formed of λ, A and γ while they are packed.
import { lanesBefore } from "./lanes";

/** Where Ŝ comes from: Ŝ[q] = λ[q] · (slow[q / fastCount] ∘ fast[q % fastCount]), all F32, pitches in bytes. */
@unmanaged
export class ScaledTerms {
  fastCount: u32;
  lambda: usize;
  fast: usize;
  fastPitch: u32;
  slow: usize;
  slowPitch: u32;
}

/**
 * Terms `first` … of columns `col` … lastCol − 1, in panels of `width` columns (a multiple of 4) and `panelBytes`. Beyond
 * the last column there are zeros.
 */
export function scaledPanels(
  p: ScaledTerms,
  first: u32,
  terms: u32,
  col: u32,
  lastCol: u32,
  width: u32,
  panelBytes: usize,
  to: usize,
): void {
  for (; col < lastCol; col += width) {
    for (let at: u32 = 0; at < width; at += 4) {
      if (col + at < lastCol) scaledVector(p, first, terms, col + at, lastCol, width * 4, to + at * 4);
      else zeroVector(terms, width * 4, to + at * 4);
    }
    to += panelBytes;
  }
}

/** Four columns, a vector every `stride` bytes. */
function scaledVector(
  p: ScaledTerms,
  first: u32,
  terms: u32,
  col: u32,
  lastCol: u32,
  stride: usize,
  to: usize,
): void {
  // A may be wider than the layer, so what pads it is not zero.
  const inside = lanesBefore(<i32>col, <i32>lastCol);
  let slow = p.slow + (first / p.fastCount) * p.slowPitch + col * 4;
  const begin = p.fast + col * 4;
  const end = begin + p.fastCount * p.fastPitch;
  let fast = begin + (first % p.fastCount) * p.fastPitch;
  let lambda = p.lambda + first * 4;
  const last = lambda + terms * 4;
  while (lambda < last) {
    const factor = v128.and(inside, v128.load(slow));
    const stop = min(last, lambda + ((end - fast) / p.fastPitch) * 4);
    for (; lambda < stop; lambda += 4) {
      v128.store(to, f32x4.mul(v128.load32_splat(lambda), f32x4.mul(factor, v128.load(fast))));
      fast += p.fastPitch;
      to += stride;
    }
    fast = begin;
    slow += p.slowPitch;
  }
}

/** A panel of sixteen columns that are all there, 64 bytes a term: whole cache lines of A and γ are read at once. */
export function scaledPanel16(p: ScaledTerms, first: u32, terms: u32, col: u32, to: usize): void {
  let slow = p.slow + (first / p.fastCount) * p.slowPitch + col * 4;
  const begin = p.fast + col * 4;
  const end = begin + p.fastCount * p.fastPitch;
  const pitch = p.fastPitch;
  let fast = begin + (first % p.fastCount) * pitch;
  let lambda = p.lambda + first * 4;
  const last = lambda + terms * 4;
  while (lambda < last) {
    const f0 = v128.load(slow);
    const f1 = v128.load(slow, 16);
    const f2 = v128.load(slow, 32);
    const f3 = v128.load(slow, 48);
    const stop = min(last, lambda + ((end - fast) / pitch) * 4);
    for (; lambda < stop; lambda += 4) {
      const factor = v128.load32_splat(lambda);
      v128.store(to, f32x4.mul(factor, f32x4.mul(f0, v128.load(fast))));
      v128.store(to, f32x4.mul(factor, f32x4.mul(f1, v128.load(fast, 16))), 16);
      v128.store(to, f32x4.mul(factor, f32x4.mul(f2, v128.load(fast, 32))), 32);
      v128.store(to, f32x4.mul(factor, f32x4.mul(f3, v128.load(fast, 48))), 48);
      fast += pitch;
      to += 64;
    }
    fast = begin;
    slow += p.slowPitch;
  }
}

function zeroVector(terms: u32, stride: usize, to: usize): void {
  for (let term: u32 = 0; term < terms; term++) {
    v128.store(to, f32x4.splat(0));
    to += stride;
  }
}
