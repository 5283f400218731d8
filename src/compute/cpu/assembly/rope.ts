import { quantize } from "./blocks";
import { normalize } from "./norms";
import { Rope } from "./parameters";
import { F16, Format, store4, storedBytes } from "./stored";

/** Where a row of k that was turned lies in the scratch, behind a head that is normalized. */
const TURNED: usize = 0x10000;

export function rope(p: Rope, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  for (let row = piece * p.pieceRows; row < last; row++) {
    const cos = p.cos + row * p.cosPitch;
    const sin = p.sin + row * p.sinPitch;
    turn(p, p.q + row * p.qPitch, p.qTo + row * p.qToPitch, p.qWidth, p.qWeight, cos, sin, scratch);
    const target = p.targets ? load<u32>(p.targets + row * 4) : row;
    if (target >= p.targetRows) continue;
    const k = p.kTo + target * p.kToPitch;
    const v = p.vTo + target * p.vToPitch;
    if (p.dtype == Format.F32) {
      turn(p, p.k + row * p.kPitch, k, p.kWidth, p.kWeight, cos, sin, scratch);
      memory.copy(v, p.v + row * p.vPitch, ((p.vWidth + 3) & ~3) * 4);
    } else {
      turn(p, p.k + row * p.kPitch, scratch + TURNED, p.kWidth, p.kWeight, cos, sin, scratch);
      round(p.dtype, scratch + TURNED, k, p.kWidth);
      round(p.dtype, p.v + row * p.vPitch, v, p.vWidth);
    }
  }
}

/** Stores a row as F16, or in blocks with their scales behind them. */
function round(format: Format, from: usize, to: usize, width: u32): void {
  if (format == Format.Q8_0) quantize(from, width, to, to + width);
  else for (let at: u32 = 0; at < width; at += 4) store4<F16>(to + storedBytes<F16>(at), v128.load(from + at * 4));
}

/** Element i of half a head turns with element i + half, or element 2i with 2i + 1; a row may be turned where it lies. */
function turn(
  p: Rope, from: usize, to: usize, width: u32, weight: usize, cos: usize, sin: usize, scratch: usize,
): void {
  const half = <usize>p.half * 4;
  const whole = half & ~15;
  const direction = f32x4.splat(p.direction);
  for (let head: u32 = 0; head < width; head += p.head) {
    let x = from + head * 4;
    const y = to + head * 4;
    if (weight) {
      normalize(x, weight, p.head, p.offset, p.epsilon, scratch);
      x = scratch;
    }
    if (p.neighbors) {
      for (let at: usize = 0; at < half; at += 4) {
        const c = load<f32>(cos + at);
        const s = p.direction * load<f32>(sin + at);
        const first = load<f32>(x + 2 * at);
        const second = load<f32>(x + 2 * at, 4);
        store<f32>(y + 2 * at, first * c - second * s);
        store<f32>(y + 2 * at, second * c + first * s, 4);
      }
      memory.copy(y + 2 * half, x + 2 * half, p.head * 4 - 2 * half);
      continue;
    }
    for (let at: usize = 0; at < whole; at += 16) {
      const c = v128.load(cos + at);
      const s = f32x4.mul(direction, v128.load(sin + at));
      const first = v128.load(x + at);
      const second = v128.load(x + half + at);
      v128.store(y + at, f32x4.sub(f32x4.mul(first, c), f32x4.mul(second, s)));
      v128.store(y + half + at, f32x4.add(f32x4.mul(second, c), f32x4.mul(first, s)));
    }
    for (let at = whole; at < half; at += 4) {
      const c = load<f32>(cos + at);
      const s = p.direction * load<f32>(sin + at);
      const first = load<f32>(x + at);
      const second = load<f32>(x + half + at);
      store<f32>(y + at, first * c - second * s);
      store<f32>(y + half + at, second * c + first * s);
    }
    memory.copy(y + 2 * half, x + 2 * half, p.head * 4 - 2 * half);
  }
}
