import type { Steps } from "../frozen/drawing/bases.ts";
import { eigenpairSteps, eigenpairWork } from "./eigenvectors.ts";
import { type Dense, gramSteps } from "./gram.ts";
import { combined, RANK_TOLERANCE } from "./singular-values.ts";

/** How much of a matrix is kept: at most so many directions, and no more than keep this part of Σ s². */
export interface Kept {
  /** Undefined: as many as `energy` asks for. */
  readonly rank: number | undefined;
  /** From 0 (excluded) to 1; undefined: all. */
  readonly energy: number | undefined;
}

/** A matrix (rows, cols) is about Σ leftₖ·rightₖᵀ, as near as so many products can be (Eckart and Young). */
export interface BestFactors {
  /** Of `rows` and `cols` elements each; both of a pair are √s long. */
  readonly left: readonly Float64Array[];
  readonly right: readonly Float64Array[];
  /** Σ s² of all directions, and of those that were left out. */
  readonly squares: number;
  readonly leftOut: number;
}

/**
 * The best product of two low matrices. One of them is orthonormal eigenvectors Q of A·Aᵀ (or Aᵀ·A, where that is smaller),
 * the other Qᵀ·A, so that their product is A on the span of Q to the rounding of f64, though eigenvalues have half of the
 * digits. Singular values below {@link RANK_TOLERANCE} of the largest are rounding of A's elements, and left out.
 *
 * @param onWork told of operations done, in all `bestFactorsWork`
 * @throws RangeError for a matrix that is not finite
 */
export function* bestFactorSteps(
  matrix: Dense,
  kept: Kept,
  onWork: (operations: number) => void = () => {},
): Steps<BestFactors> {
  const { rows, cols } = matrix;
  const isWide = rows <= cols;
  let rank = 0;
  const gram = yield* gramSteps(matrix, onWork);
  const { values, vectors } = yield* eigenpairSteps(gram, (squares) => (rank = rankOf(squares, kept)), onWork);
  const others: Float64Array[] = [];
  for (const vector of vectors) {
    others.push(combined(matrix, vector));
    onWork(rows * cols);
    yield;
  }
  for (const [k, other] of others.entries()) {
    const length = Math.sqrt(other.reduce((sum, value) => sum + value * value, 0));
    const root = Math.sqrt(length);
    if (length > 0) scale(other, 1 / root);
    scale(vectors[k] ?? other, root);
  }
  const squares = values.reduce((sum, value) => sum + Math.max(0, value), 0);
  const leftOut = values.subarray(rank).reduce((sum, value) => sum + Math.max(0, value), 0);
  return { left: isWide ? vectors : others, right: isWide ? others : vectors, squares, leftOut };
}

/** Operations that it takes at most, about. */
export function bestFactorsWork(rows: number, cols: number, { rank = Infinity }: Kept): number {
  const size = Math.min(rows, cols);
  const vectors = Math.min(size, rank);
  return size * rows * cols + eigenpairWork(size, vectors) + rows * cols * vectors;
}

/** How many of the directions with these s², the largest first, are kept. */
function rankOf(squares: Float64Array, { rank = Infinity, energy = 1 }: Kept): number {
  const total = squares.reduce((sum, square) => sum + Math.max(0, square), 0);
  const least = RANK_TOLERANCE ** 2 * (squares[0] ?? 0);
  let count = 0;
  let sum = 0;
  for (const square of squares) {
    if (count >= rank || !(square > least) || sum >= energy * total) break;
    sum += square;
    count++;
  }
  return count;
}

function scale(vector: Float64Array, factor: number): void {
  for (let i = 0; i < vector.length; i++) vector[i] = (vector[i] as number) * factor;
}
