/** Mean of some numbers, and how far they scatter. */
export interface Spread {
  readonly mean: number;
  /** Sample standard deviation (n − 1); null for a single number. */
  readonly deviation: number | null;
}

/** Mean and sample standard deviation; undefined for no numbers. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  const n = values.length;
  if (n === 0) return undefined;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: n === 1 ? null : Math.sqrt(squares / (n - 1)) };
}

/**
 * Student's paired t test: how probable it is, two-sided, that differences as far from zero as these come about where
 * their true mean is zero. 1 for fewer than two.
 */
export function pairedP(differences: readonly number[]): number {
  const spread = spreadOf(differences);
  if (spread === undefined || spread.deviation === null) return 1;
  if (spread.mean === 0) return 1;
  const n = differences.length;
  return studentP(spread.mean / (spread.deviation / Math.sqrt(n)), n - 1);
}

/** The |t| that Student's t exceeds with this probability, two-sided. */
export function quantile(p: number, freedom: number): number {
  let [low, high] = [0, 1];
  while (studentP(high, freedom) > p) high *= 2;
  for (let halving = 0; halving < 60; halving++) {
    const middle = (low + high) / 2;
    if (studentP(middle, freedom) > p) low = middle;
    else high = middle;
  }
  return high;
}

/**
 * The mean difference, in standard deviations of the differences, that a paired t test at `level` (two-sided) finds in four
 * of five comparisons: (t_level + t_0.2) / √n, within 7 points of that share from three pairs on, too small for two.
 */
export function detectable(pairs: number, level: number): number {
  return (quantile(level, pairs - 1) + quantile(0.4, pairs - 1)) / Math.sqrt(pairs);
}

/** How many pairs find a mean difference of so many standard deviations, as {@link detectable}; undefined above `most`. */
export function pairsToTell(deviations: number, level: number, most: number): number | undefined {
  for (let pairs = 2; pairs <= most; pairs++) if (detectable(pairs, level) <= deviations) return pairs;
  return undefined;
}

/** P(|T| ≥ |t|) of Student's t with so many degrees of freedom: I_{ν/(ν + t²)}(ν/2, 1/2). */
export function studentP(t: number, freedom: number): number {
  return incompleteBeta(freedom / (freedom + t * t), freedom / 2, 1 / 2);
}

/** The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22) where that converges fast. */
function incompleteBeta(x: number, a: number, b: number): number {
  if (!(x > 0)) return 0;
  if (x >= 1) return 1;
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) + logGamma(a + b) - logGamma(a) - logGamma(b));
  return x < (a + 1) / (a + b + 2) ? (front * fraction(x, a, b)) / a : 1 - (front * fraction(1 - x, b, a)) / b;
}

/** 1 / (1 + d₁/(1 + d₂/(1 + …))) by Lentz's method. */
function fraction(x: number, a: number, b: number): number {
  const tiny = 1e-300;
  const away = (value: number) => (Math.abs(value) < tiny ? tiny : value);
  let d = 1 / away(1 - ((a + b) * x) / (a + 1));
  let [c, result] = [1, d];
  for (let m = 1; m <= 500; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    let factor = 1;
    for (const term of [even, odd]) {
      d = 1 / away(1 + term * d);
      c = away(1 + term / c);
      factor = c * d;
      result *= factor;
    }
    if (Math.abs(factor - 1) < 1e-15) break;
  }
  return result;
}

/** ln Γ of a multiple of 1/2, exact up to rounding: Γ(x + 1) = x·Γ(x), Γ(1/2) = √π. */
function logGamma(x: number): number {
  let sum = Number.isInteger(x) ? 0 : Math.log(Math.PI) / 2;
  for (let k = Number.isInteger(x) ? 1 : 1 / 2; k < x; k++) sum += Math.log(k);
  return sum;
}
