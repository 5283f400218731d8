// Activations, one more function, and their slopes. A new one needs a kind in src/compute/device/families/elementwise.ts, its value and its slope here,
// and a line in elementwise.ts for each; one that gates, also in normed-rows.ts.
import { erf4, exp4, tanh4 } from "./math";

// The kinds of ELEMENTWISE.
export const SILU: u32 = 1;
export const GELU_TANH: u32 = 2;
export const GELU: u32 = 3;
export const QUICK_GELU: u32 = 7;
export const EXPM1: u32 = 8;
export const SIGMOID: u32 = 11;
/** Any other: x itself. */
export const SAME: u32 = 5;

const GELU_TANH_SCALE: f32 = 0.7978845608028654; // √(2/π)
const GELU_TANH_CUBE: f32 = 0.044715;
const QUICK_GELU_SCALE: f32 = 1.702;
const ROOT_HALF: f32 = 0.7071067811865476;

// @ts-ignore: decorator
@inline
function sigmoid(x: v128): v128 {
  return f32x4.div(f32x4.splat(1), f32x4.add(f32x4.splat(1), exp4(f32x4.neg(x))));
}

/** tanh(√(2/π) (x + 0.044715 x³)). */
// @ts-ignore: decorator
@inline
function innerTanh(x: v128): v128 {
  const cube = f32x4.mul(f32x4.mul(f32x4.mul(f32x4.splat(GELU_TANH_CUBE), x), x), x);
  return tanh4(f32x4.mul(f32x4.splat(GELU_TANH_SCALE), f32x4.add(x, cube)));
}

/** Φ(x), the share of a normal distribution below x. */
// @ts-ignore: decorator
@inline
function below(x: v128): v128 {
  const value = erf4(f32x4.mul(x, f32x4.splat(ROOT_HALF)));
  return f32x4.mul(f32x4.splat(0.5), f32x4.add(f32x4.splat(1), value));
}

/** f(x); the kind is a constant where this is called. */
// @ts-ignore: decorator
@inline
export function activate(kind: u32, x: v128): v128 {
  if (kind == SILU) return f32x4.div(x, f32x4.add(f32x4.splat(1), exp4(f32x4.neg(x))));
  if (kind == GELU_TANH) {
    return f32x4.mul(f32x4.mul(f32x4.splat(0.5), x), f32x4.add(f32x4.splat(1), innerTanh(x)));
  }
  if (kind == GELU) return f32x4.mul(x, below(x));
  if (kind == QUICK_GELU) return f32x4.mul(x, sigmoid(f32x4.mul(f32x4.splat(QUICK_GELU_SCALE), x)));
  if (kind == EXPM1) return f32x4.sub(exp4(x), f32x4.splat(1));
  if (kind == SIGMOID) return sigmoid(x);
  return x;
}

/** f′(x). */
// @ts-ignore: decorator
@inline
export function slope(kind: u32, x: v128): v128 {
  const one = f32x4.splat(1);
  const half = f32x4.splat(0.5);
  if (kind == SILU) {
    const s = sigmoid(x);
    return f32x4.add(s, f32x4.mul(f32x4.mul(x, s), f32x4.sub(one, s)));
  }
  if (kind == GELU_TANH) {
    const t = innerTanh(x);
    const square = f32x4.mul(f32x4.splat(3 * GELU_TANH_CUBE), f32x4.mul(x, x));
    const inner = f32x4.mul(f32x4.splat(GELU_TANH_SCALE), f32x4.add(one, square));
    const bend = f32x4.mul(f32x4.mul(f32x4.mul(half, x), f32x4.sub(one, f32x4.mul(t, t))), inner);
    return f32x4.add(f32x4.mul(half, f32x4.add(one, t)), bend);
  }
  if (kind == GELU) {
    const density = f32x4.mul(
      f32x4.splat(0.3989422804014327),
      exp4(f32x4.mul(f32x4.splat(-0.5), f32x4.mul(x, x))),
    );
    return f32x4.add(below(x), f32x4.mul(x, density));
  }
  if (kind == QUICK_GELU) {
    const scaled = f32x4.mul(f32x4.splat(QUICK_GELU_SCALE), x);
    const s = sigmoid(scaled);
    return f32x4.add(s, f32x4.mul(f32x4.mul(scaled, s), f32x4.sub(one, s)));
  }
  if (kind == EXPM1) return exp4(x);
  if (kind == SIGMOID) {
    const s = sigmoid(x);
    return f32x4.mul(s, f32x4.sub(one, s));
  }
  return one;
}
