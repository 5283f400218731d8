// Functions of four numbers at once. Plain IEEE operations: the same bits on every processor. NaN stays NaN.

// @ts-ignore: decorator
@inline
function splat(value: f32): v128 {
  return f32x4.splat(value);
}

// @ts-ignore: decorator
@inline
function plusTimes(a: v128, b: v128, c: f32): v128 {
  return f32x4.add(f32x4.mul(a, b), splat(c));
}

/** 1.5 · 2²³ + 127: adding it rounds to an integer n, and leaves n + 127, the exponent of 2ⁿ, in the lowest bits. */
const ROUND: f32 = 12583039;

/** eˣ, to 2e-7 (Cephes' expf): by 2ⁿ · eʳ with |r| ≤ ln 2 / 2. Zero below 2⁻¹²⁶, Infinity above 2.4e38. */
// @ts-ignore: decorator
@inline
export function exp4(given: v128): v128 {
  const x = f32x4.pmin(given, splat(89));
  const shifted = f32x4.add(f32x4.mul(x, splat(1.44269504088896341)), splat(ROUND));
  const n = f32x4.sub(shifted, splat(ROUND));
  const high = f32x4.sub(x, f32x4.mul(n, splat(0.693359375)));
  const r = f32x4.sub(high, f32x4.mul(n, splat(-2.12194440e-4)));
  let series = plusTimes(splat(1.9875691500e-4), r, 1.3981999507e-3);
  series = plusTimes(series, r, 8.3334519073e-3);
  series = plusTimes(series, r, 4.1665795894e-2);
  series = plusTimes(series, r, 1.6666665459e-1);
  series = plusTimes(series, r, 5.0000001201e-1);
  const value = f32x4.add(f32x4.add(f32x4.mul(series, f32x4.mul(r, r)), r), splat(1));
  // A product brings the exponent to its place: JavaScriptCore takes four instructions for a shift.
  const power = i32x4.mul(shifted, i32x4.splat(1 << 23));
  return v128.andnot(f32x4.mul(value, power), f32x4.lt(x, splat(-87.3)));
}

/** eˣ of one number. */
// @ts-ignore: decorator
@inline
export function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp4(splat(x)), 0);
}

/** log x of normal numbers above zero, to 1e-7 (Cephes' logf); Infinity stays. */
// @ts-ignore: decorator
@inline
function log4(x: v128): v128 {
  // x = 2ⁿ · m with m from √½ to √2.
  const bits = i32x4.sub(x, i32x4.splat(0x3f3504f3));
  const n = f32x4.convert_i32x4_s(i32x4.shr_s(bits, 23));
  const m = i32x4.add(v128.and(bits, i32x4.splat(0x007fffff)), i32x4.splat(0x3f3504f3));
  const r = f32x4.sub(m, splat(1));
  const square = f32x4.mul(r, r);
  let series = plusTimes(splat(7.0376836292e-2), r, -1.1514610310e-1);
  series = plusTimes(series, r, 1.1676998740e-1);
  series = plusTimes(series, r, -1.2420140846e-1);
  series = plusTimes(series, r, 1.4249322787e-1);
  series = plusTimes(series, r, -1.6668057665e-1);
  series = plusTimes(series, r, 2.0000714765e-1);
  series = plusTimes(series, r, -2.4999993993e-1);
  series = plusTimes(series, r, 3.3333331174e-1);
  let value = f32x4.mul(f32x4.mul(series, r), square);
  value = f32x4.add(value, f32x4.mul(n, splat(-2.12194440e-4)));
  value = f32x4.sub(value, f32x4.mul(square, splat(0.5)));
  value = f32x4.add(f32x4.add(r, value), f32x4.mul(n, splat(0.693359375)));
  return v128.bitselect(value, x, f32x4.lt(x, splat(Infinity)));
}

/** log x of one number. */
// @ts-ignore: decorator
@inline
export function log1(x: f32): f32 {
  return f32x4.extract_lane(log4(splat(x)), 0);
}

/** tanh x, to 2e-7 (Cephes' tanhf). */
// @ts-ignore: decorator
@inline
export function tanh4(x: v128): v128 {
  const size = f32x4.abs(x);
  const square = f32x4.mul(x, x);
  let series = plusTimes(splat(-5.70498872745e-3), square, 2.06390887954e-2);
  series = plusTimes(series, square, -5.37397155531e-2);
  series = plusTimes(series, square, 1.33314422036e-1);
  series = plusTimes(series, square, -3.33332819422e-1);
  const near = f32x4.add(f32x4.mul(f32x4.mul(series, square), x), x);
  const power = exp4(f32x4.add(size, size));
  const far = f32x4.sub(splat(1), f32x4.div(splat(2), f32x4.add(power, splat(1))));
  const signed = v128.or(far, v128.and(x, i32x4.splat(0x80000000)));
  return v128.bitselect(near, signed, f32x4.lt(size, splat(0.625)));
}

/** cap · tanh(x / cap). */
// @ts-ignore: decorator
@inline
export function capped4(x: v128, cap: v128): v128 {
  return f32x4.mul(cap, tanh4(f32x4.div(x, cap)));
}
