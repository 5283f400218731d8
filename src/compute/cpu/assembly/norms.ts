// Norms of rows, and their gradients by what they normalize.
import { lanesBefore, MOST_TERMS, sumOf } from "./lanes";
import { LayerNorm, LayerNormGradient, RmsNorm, RmsNormGradient } from "./parameters";

export function rmsNorm(p: RmsNorm, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  const bytes = wholeBytes(p.cols);
  for (let row = piece * p.pieceRows; row < last; row++) {
    for (let segment: u32 = 0; segment < p.segments; segment++) {
      const x = p.x + row * p.xPitch + segment * bytes;
      const y = p.y + row * p.yPitch + segment * bytes;
      normalize(x, p.weight, p.cols, p.offset, p.epsilon, y);
    }
  }
}

/** The same of one segment, which may be normalized where it lies: every kernel that does it gives the same bits. */
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

export function rmsNormGradient(p: RmsNormGradient, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  const bytes = wholeBytes(p.cols);
  const offset = f32x4.splat(p.offset);
  const weight = p.weight;
  for (let row = piece * p.pieceRows; row < last; row++) {
    for (let segment: u32 = 0; segment < p.segments; segment++) {
      const x = p.x + row * p.xPitch + segment * bytes;
      const dy = p.dy + row * p.dyPitch + segment * bytes;
      const dx = p.dx + row * p.dxPitch + segment * bytes;
      const scale = <f32>1 / sqrt<f32>(dot(x, x, bytes) / <f32>p.cols + p.epsilon);
      if (p.scales) store<f32>(p.scales + (row * p.segments + segment) * 4, scale);
      if (!p.dx) continue;
      const along = (scaledDot(x, dy, weight, p.offset, bytes) / <f32>p.cols) * scale * scale;
      const scale4 = f32x4.splat(scale);
      const along4 = f32x4.splat(along);
      for (let at: usize = 0; at < bytes; at += 16) {
        const h = f32x4.mul(v128.load(dy + at), f32x4.add(offset, v128.load(weight + at)));
        const rest = f32x4.sub(h, f32x4.mul(v128.load(x + at), along4));
        v128.store(dx + at, f32x4.mul(scale4, rest));
      }
    }
  }
}

export function layerNorm(p: LayerNorm, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  const bytes = wholeBytes(p.cols);
  const weight = p.weight;
  for (let row = piece * p.pieceRows; row < last; row++) {
    const x = p.x + row * p.xPitch;
    const y = p.y + row * p.yPitch;
    const bias = p.bias;
    const mean = sum(x, bytes) / <f32>p.cols;
    const scale = f32x4.splat(inverseDeviation(x, mean, p.cols, p.epsilon));
    const mean4 = f32x4.splat(mean);
    // Weight and bias are zero beyond the last element, and so is y.
    for (let at: usize = 0; at < bytes; at += 16) {
      const normed = f32x4.mul(f32x4.sub(v128.load(x + at), mean4), scale);
      let value = f32x4.mul(normed, v128.load(weight + at));
      if (bias) value = f32x4.add(value, v128.load(bias + at));
      v128.store(y + at, value);
    }
  }
}

export function layerNormGradient(p: LayerNormGradient, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  const bytes = wholeBytes(p.cols);
  const weight = p.weight;
  for (let row = piece * p.pieceRows; row < last; row++) {
    const x = p.x + row * p.xPitch;
    const dy = p.dy + row * p.dyPitch;
    const dx = p.dx + row * p.dxPitch;
    const products = p.products + row * p.productsPitch;
    const mean = sum(x, bytes) / <f32>p.cols;
    const scale = inverseDeviation(x, mean, p.cols, p.epsilon);
    const mean4 = f32x4.splat(mean);
    const scale4 = f32x4.splat(scale);
    if (p.products) {
      // dy is zero beyond the last element.
      for (let at: usize = 0; at < bytes; at += 16) {
        const normed = f32x4.mul(f32x4.sub(v128.load(x + at), mean4), scale4);
        v128.store(products + at, f32x4.mul(v128.load(dy + at), normed));
      }
    }
    if (!p.dx) continue;
    const common = f32x4.splat(dot(dy, weight, bytes) / <f32>p.cols);
    const along = f32x4.splat(normedDot(x, mean, scale, dy, weight, bytes) / <f32>p.cols);
    for (let at: usize = 0; at < bytes; at += 16) {
      const normed = f32x4.mul(f32x4.sub(v128.load(x + at), mean4), scale4);
      const h = f32x4.mul(v128.load(dy + at), v128.load(weight + at));
      const value = f32x4.mul(scale4, f32x4.sub(f32x4.sub(h, common), f32x4.mul(normed, along)));
      v128.store(dx + at, value);
    }
    zeroBehind(dx, p.cols);
  }
}

/** Bytes of so many numbers, padded to whole vectors. */
// @ts-ignore: decorator
@inline
function wholeBytes(cols: u32): usize {
  return ((cols + 3) & ~3) * 4;
}

/** Zeros behind the last of a row's numbers, within its last vector. */
function zeroBehind(row: usize, cols: u32): void {
  const rest = cols & 3;
  if (rest != 0) memory.fill(row + cols * 4, 0, (4 - rest) * 4);
}

/** 1 / √(variance + ε). Differences from the mean are squared: E[x²] − mean² would lose what large numbers have in common. */
function inverseDeviation(x: usize, mean: f32, cols: u32, epsilon: f32): f32 {
  const mean4 = f32x4.splat(mean);
  const whole = <usize>(cols & ~3) * 4;
  let total = f32x4.splat(0);
  for (let begin: usize = 0; begin < whole; begin += MOST_TERMS * 16) {
    const end = min(begin + MOST_TERMS * 16, whole);
    let part = f32x4.splat(0);
    for (let at = begin; at < end; at += 16) {
      const difference = f32x4.sub(v128.load(x + at), mean4);
      part = f32x4.add(part, f32x4.mul(difference, difference));
    }
    total = f32x4.add(total, part);
  }
  if (cols & 3) {
    const difference = v128.and(f32x4.sub(v128.load(x + whole), mean4), lanesBefore(0, cols & 3));
    total = f32x4.add(total, f32x4.mul(difference, difference));
  }
  return <f32>1 / sqrt<f32>(sumOf(total) / <f32>cols + epsilon);
}

// Sums over a row, padding included: each lane adds up 256 terms, then what those come to.

function sum(a: usize, bytes: usize): f32 {
  let total = f32x4.splat(0);
  for (let begin: usize = 0; begin < bytes; begin += MOST_TERMS * 16) {
    const end = min(begin + MOST_TERMS * 16, bytes);
    let part = f32x4.splat(0);
    for (let at = begin; at < end; at += 16) part = f32x4.add(part, v128.load(a + at));
    total = f32x4.add(total, part);
  }
  return sumOf(total);
}

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

/** Σ a · b · (offset + c). */
function scaledDot(a: usize, b: usize, c: usize, offset: f32, bytes: usize): f32 {
  const offset4 = f32x4.splat(offset);
  let total = f32x4.splat(0);
  for (let begin: usize = 0; begin < bytes; begin += MOST_TERMS * 16) {
    const end = min(begin + MOST_TERMS * 16, bytes);
    let part = f32x4.splat(0);
    for (let at = begin; at < end; at += 16) {
      const h = f32x4.mul(v128.load(b + at), f32x4.add(offset4, v128.load(c + at)));
      part = f32x4.add(part, f32x4.mul(v128.load(a + at), h));
    }
    total = f32x4.add(total, part);
  }
  return sumOf(total);
}

/** Σ (a − mean) · scale · b · c. */
function normedDot(a: usize, mean: f32, scale: f32, b: usize, c: usize, bytes: usize): f32 {
  const mean4 = f32x4.splat(mean);
  const scale4 = f32x4.splat(scale);
  let total = f32x4.splat(0);
  for (let begin: usize = 0; begin < bytes; begin += MOST_TERMS * 16) {
    const end = min(begin + MOST_TERMS * 16, bytes);
    let part = f32x4.splat(0);
    for (let at = begin; at < end; at += 16) {
      const normed = f32x4.mul(f32x4.sub(v128.load(a + at), mean4), scale4);
      part = f32x4.add(part, f32x4.mul(f32x4.mul(v128.load(b + at), v128.load(c + at)), normed));
    }
    total = f32x4.add(total, part);
  }
  return sumOf(total);
}
