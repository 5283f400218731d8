import type { Steps } from "../frozen/drawing/bases.ts";
import { eigenpairSteps, eigenpairWork, largestProductSteps } from "./eigenvectors.ts";
import { type Dense, gramSteps } from "./eigenvalues.ts";
import { combined, RANK_TOLERANCE } from "./singular-values.ts";

/** How intruders are told: PEFT's and the paper's (arXiv:2410.21228) values. */
export const INTRUDERS = { top: 10, epsilon: 0.5 } as const;

/** A singular direction of W + ΔW that W does not have: value · left · rightᵀ. */
export interface Intruder {
  readonly value: number;
  readonly left: Float64Array;
  readonly right: Float64Array;
}

/**
 * The intruder dimensions of W + ΔW (arXiv:2410.21228, section 3; PEFT's lora/intruders.py): of its `top` first left
 * singular vectors those whose largest cosine with any left singular vector of W is below `epsilon`.
 *
 * @param weight W
 * @param adapted W + ΔW
 * @param onWork told of operations done, in all {@link intruderWork} at most
 * @throws RangeError for a matrix that is not finite
 */
export function* intruderSteps(
  weight: Dense,
  adapted: Dense,
  onWork: (operations: number) => void = () => {},
): Steps<readonly Intruder[]> {
  const { rows, cols } = weight;
  const isWide = rows <= cols;
  const { values, vectors } = yield* eigenpairSteps(
    yield* gramSteps(adapted, onWork),
    (squares) => squares.findLastIndex((square, at) => at < INTRUDERS.top && isThere(square, squares[0] ?? 0)) + 1,
    onWork,
  );
  const pairs: Intruder[] = [];
  for (const [at, vector] of vectors.entries()) {
    const value = Math.sqrt(values[at] ?? 0);
    const other = combined(adapted, vector).map((element) => element / value);
    pairs.push(isWide ? { value, left: vector, right: other } : { value, left: other, right: vector });
    onWork(rows * cols);
    yield;
  }
  // Left vectors of a tall W are W·v/s: their products with u are those of Wᵀ·u with v, divided by s.
  const sought = pairs.map(({ left }) => (isWide ? left : productsWithColumns(weight, left)));
  const cosines = yield* largestProductSteps(
    yield* gramSteps(weight, onWork),
    sought,
    (square, largest) => (isThere(square, largest) ? (isWide ? 1 : Math.sqrt(square)) : Number(isWide)),
    (largest, squares) => largest >= INTRUDERS.epsilon || 1 - squares < INTRUDERS.epsilon ** 2,
    onWork,
  );
  return pairs.filter((_, at) => (cosines[at] ?? 0) < INTRUDERS.epsilon);
}

function isThere(square: number, largest: number): boolean {
  return square > RANK_TOLERANCE ** 2 * largest;
}

/** Operations that it takes at most, about. */
export function intruderWork(rows: number, cols: number): number {
  const size = Math.min(rows, cols);
  return 2 * size * rows * cols + eigenpairWork(size, INTRUDERS.top) + eigenpairWork(size, size);
}

function productsWithColumns({ rows, cols, data }: Dense, vector: Float64Array): Float64Array {
  const products = new Float64Array(cols);
  for (let row = 0; row < rows; row++) {
    const factor = vector[row] ?? 0;
    for (let col = 0; col < cols; col++)
      products[col] = (products[col] as number) + factor * (data[row * cols + col] as number);
  }
  return products;
}
