import type { Steps } from "../frozen/drawing/steps.ts";
import { eigenvalueSteps } from "./eigenvalues.ts";
import { type Dense, gramSteps } from "./gram.ts";
import { lowRankSquareSteps } from "./low-rank-factor.ts";

/** Singular values below this part of the largest count as zero: see {@link numericalRank}. */
export const RANK_TOLERANCE = 1e-6;

/**
 * The singular values of a matrix in f64, the largest first; of a matrix of low rank those that are not zero alone.
 *
 * They are the roots of the eigenvalues of A·Aᵀ, which halves the digits: a value is off by some 1e-8 of the largest,
 * where bidiagonalising A itself would leave 1e-15. ΔW has elements of f32, each off by up to 6e-8 of itself, which moves
 * singular values as much; and 1e-6 of the largest, squared 1e-12, lies far above ε = 2e-16. In exchange the m·m·n operations
 * (for m ≤ n) of the product, the largest part, are done in tiles, four times as fast as reflections of a matrix that no cache holds.
 *
 * @param onWork told of operations done, in all `singularWork`
 * @throws RangeError for a matrix that is not finite
 */
export function* singularValueSteps(
  matrix: Dense,
  onWork: (operations: number) => void = () => {},
): Steps<Float64Array> {
  let done = 0;
  const work = (operations: number) => {
    done += operations;
    onWork(operations);
  };
  const few = yield* lowRankSquareSteps(matrix);
  const squares = few ?? (yield* eigenvalueSteps(yield* gramSteps(matrix, work), work));
  onWork(Math.max(0, singularWork(matrix.rows, matrix.cols) - done));
  return squares.map((square) => Math.sqrt(Math.max(0, square)));
}

/** Operations that a matrix of full rank takes. */
export function singularWork(rows: number, cols: number): number {
  const size = Math.min(rows, cols);
  return size * size * (Math.max(rows, cols) + (4 / 3) * size);
}

/** How many directions share a matrix's weight: exp(−Σ p ln p) with p = s/Σs (Roy and Vetterli, EUSIPCO 2007); 0 for zero. */
export function effectiveRank(values: Float64Array): number {
  const total = values.reduce((sum, value) => sum + value, 0);
  if (total === 0) return 0;
  let entropy = 0;
  for (const value of values) if (value > 0) entropy -= (value / total) * Math.log(value / total);
  return Math.exp(entropy);
}

/** How many singular values exceed {@link RANK_TOLERANCE} of the largest. */
export function numericalRank(values: Float64Array): number {
  const least = RANK_TOLERANCE * (values[0] ?? 0);
  return values.reduce((count, value) => count + (value > least ? 1 : 0), 0);
}
