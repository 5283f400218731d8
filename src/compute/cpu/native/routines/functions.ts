// Functions of f32, lane by lane: Cephes' polynomials by FMA, so the same bits with every code. What is no number stays none.
import type { Lanes, Machine } from "../machine.ts";

const float = new Float32Array(1);
const whole = new Uint32Array(float.buffer);

/** The bits of an f32. */
export function bitsOf(value: number): number {
  float[0] = value;
  return whole[0] ?? 0;
}

/** to = a number of the code's own. */
export function number(m: Machine, to: Lanes, value: number): void {
  m.constant(to, bitsOf(value));
}

/** Horner's rule; returns which of the two registers has the sum. */
function series(m: Machine, x: Lanes, [first = 0, ...rest]: readonly number[], sums: readonly [Lanes, Lanes]): Lanes {
  let [sum, next] = sums;
  number(m, sum, first);
  for (const term of rest) {
    number(m, next, term);
    m.fma(next, sum, x);
    [sum, next] = [next, sum];
  }
  return sum;
}

/** to += from · value. */
function addTimes(m: Machine, to: Lanes, from: Lanes, value: number, temporary: Lanes): void {
  number(m, temporary, value);
  m.fma(to, from, temporary);
}

/** ln 2, in two parts: products of the first with a small whole number are exact. */
const [LN2, LN2_REST] = [0.693359375, -2.1219444e-4];

/** 1.5 · 2²³: a number to which it is added is rounded to a whole one, which the lowest bits are then. */
const ROUND = 12582912;
const EXPONENT_BIAS = 127;

/** Below −104 everything is zero, above 89 infinite. */
const [LEAST, MOST] = [-104, 89];

/** x = eˣ, to 2e-7, by 2ⁿ · eʳ with |r| ≤ ln 2 / 2. Zero below 2⁻¹²⁶, Infinity above 2.4e38. */
export function exp(m: Machine, x: Lanes, [a, b, c]: readonly [Lanes, Lanes, Lanes]): void {
  number(m, a, MOST);
  m.atMost(x, x, a);
  number(m, a, LEAST);
  m.atLeast(x, x, a);
  number(m, a, ROUND + EXPONENT_BIAS);
  addTimes(m, a, x, Math.LOG2E, b);
  number(m, b, ROUND + EXPONENT_BIAS);
  m.subtract(b, a, b);
  addTimes(m, x, b, -LN2, c);
  addTimes(m, x, b, -LN2_REST, c);
  number(m, b, ROUND);
  m.subtractWhole(a, a, b);
  m.zero(b);
  m.larger(a, a, b);
  m.shiftLeft(a, a, 23);
  const terms = [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1];
  const sum = series(m, x, terms, [b, c]);
  const other = sum === b ? c : b;
  m.multiply(other, x, x);
  m.fma(x, sum, other);
  number(m, other, 1);
  m.add32(x, x, other);
  m.multiply(x, x, a);
}

/** √½, in bits, and those of a significand. */
const [ROOT, SIGNIFICAND] = [0x3f3504f3, 0x007fffff];

/** x = log x of normal numbers above zero, to 1e-7. */
export function log(m: Machine, x: Lanes, [a, b, c, n, r]: readonly [Lanes, Lanes, Lanes, Lanes, Lanes]): void {
  // x = 2ⁿ · (1 + r), from √½ to √2.
  m.constant(a, ROOT);
  m.subtractWhole(r, x, a);
  m.shiftRight(n, r, 23);
  m.fromWhole(n, n);
  m.constant(b, SIGNIFICAND);
  m.and(r, r, b);
  m.addWhole(r, r, a);
  number(m, a, 1);
  m.subtract(r, r, a);
  const terms = [
    7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
  ];
  const sum = series(m, r, terms, [a, b]);
  const other = sum === a ? b : a;
  // 0 · x is no number where x is none.
  m.zero(other);
  m.multiply(x, x, other);
  m.multiply(c, r, r);
  m.multiply(sum, sum, r);
  m.fma(x, sum, c);
  addTimes(m, x, n, LN2_REST, other);
  addTimes(m, x, c, -0.5, other);
  m.add32(x, r, x);
  addTimes(m, x, n, LN2, other);
}

const SIGN = 0x80000000;
/** Below it tanh has a series of its own. */
const NEAR = 0.625;

/** x = tanh x, to 2e-7. */
export function tanh(m: Machine, x: Lanes, temporaries: readonly [Lanes, Lanes, Lanes, Lanes, Lanes, Lanes]): void {
  const [a, b, c, mask, near, far] = temporaries;
  m.constant(a, SIGN);
  m.andNot(far, x, a);
  m.multiply(a, x, x);
  const terms = [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1];
  const sum = series(m, a, terms, [b, c]);
  m.multiply(near, sum, a);
  m.multiply(near, near, x);
  m.add32(near, near, x);
  number(m, a, NEAR);
  m.subtract(mask, far, a);
  m.shiftRight(mask, mask, 31);
  // 1 − 2 / (e²ˣ + 1), with the sign of x.
  m.add32(far, far, far);
  exp(m, far, [a, b, c]);
  number(m, a, 1);
  m.add32(far, far, a);
  number(m, b, 2);
  m.divide(far, b, far);
  m.subtract(far, a, far);
  m.constant(a, SIGN);
  m.and(x, x, a);
  m.or(far, far, x);
  m.and(near, near, mask);
  m.andNot(far, far, mask);
  m.or(x, near, far);
}
