import type { Steps } from "../frozen/drawing/bases.ts";
import { at, type Symmetric, type Tridiagonal, tridiagonalSteps, tridiagonalValueSteps } from "./eigenvalues.ts";

/** Eigenvalues, the largest first, and the vectors of the first of them. */
export interface Eigenpairs {
  readonly values: Float64Array;
  /** Orthonormal to a few ε. */
  readonly vectors: readonly Float64Array[];
}

/** Eigenvalues that are closer than this part of the largest share a space: their vectors are made orthogonal to each other. */
const CLOSE = 1e-3;
/** Turns of inverse iteration. One suffices from almost any start. */
const TURNS = 2;

/**
 * The eigenvalues of a symmetric matrix and the vectors of the largest: reduced to two diagonals, whose vectors inverse
 * iteration finds (as LAPACK's dstein does: Golub and Van Loan, Matrix Computations, 8.2.2 and 8.4.2), then turned back by
 * the reflections. Each value is off by a few ε · ‖A‖ at most, and so is what A does to a vector.
 *
 * @param count how many vectors are wanted, once the values are known
 * @param onWork told of operations done, in all {@link eigenpairWork}
 * @throws RangeError for a matrix that is not finite
 */
export function* eigenpairSteps(
  matrix: Symmetric,
  count: (values: Float64Array) => number,
  onWork: (operations: number) => void = () => {},
): Steps<Eigenpairs> {
  const { size } = matrix;
  const reduced = yield* tridiagonalSteps(matrix, onWork);
  const values = yield* tridiagonalValueSteps(reduced);
  const wanted = Math.min(size, count(values));
  const vectors = yield* vectorSteps(reduced, values, ({ length }) => length < wanted, onWork);
  for (const vector of vectors) {
    turn(matrix, vector);
    onWork(2 * size * size);
    yield;
  }
  return { values, vectors };
}

/** Eigenvectors of the two diagonals, those of the largest values first, as long as more are wanted. */
function* vectorSteps(
  reduced: Tridiagonal,
  values: Float64Array,
  wants: (vectors: readonly Float64Array[]) => boolean,
  onWork: (operations: number) => void,
): Steps<readonly Float64Array[]> {
  const size = values.length;
  const vectors: Float64Array[] = [];
  const close = CLOSE * Math.max(Math.abs(at(values, 0)), Math.abs(at(values, size - 1)));
  let group = 0; // where the vectors begin that the next one must be orthogonal to
  for (let k = 0; wants(vectors) && k < size; k++) {
    if (k > 0 && at(values, k - 1) - at(values, k) > close) group = k;
    vectors.push(vectorOf(reduced, at(values, k), vectors.slice(group), k));
    onWork(2 * size * (k - group) * (TURNS + 1) + 20 * size);
    yield;
  }
  return vectors;
}

/**
 * The largest products of some vectors with any eigenvector of a symmetric matrix, without the eigenvectors themselves: the
 * vectors are turned to where the matrix has two diagonals.
 * @param weigh what an eigenvalue divides its products by
 * @param isDone may the search for a vector end, by its largest product and the sum of their squares so far?
 */
export function* largestProductSteps(
  matrix: Symmetric,
  vectors: readonly Float64Array[],
  weigh: (value: number, largest: number) => number,
  isDone: (largest: number, squares: number) => boolean,
  onWork: (operations: number) => void = () => {},
): Steps<readonly number[]> {
  const reduced = yield* tridiagonalSteps(matrix, onWork);
  const values = yield* tridiagonalValueSteps(reduced);
  const turned = vectors.map((vector) => {
    const own = vector.slice();
    turn(matrix, own, true);
    return { own, largest: 0, squares: 0 };
  });
  yield* vectorSteps(
    reduced,
    values,
    (found) => {
      const { length } = found;
      const [vector] = found.slice(-1);
      const weight = weigh(at(values, Math.max(0, length - 1)), at(values, 0));
      for (const one of turned) {
        const product = vector === undefined || weight === 0 ? 0 : Math.abs(dotOf(one.own, vector)) / weight;
        one.largest = Math.max(one.largest, product);
        one.squares += product * product;
      }
      return turned.some(({ largest, squares }) => !isDone(largest, squares));
    },
    onWork,
  );
  return turned.map(({ largest }) => largest);
}

function dotOf(one: Float64Array, other: Float64Array): number {
  let total = 0;
  for (let k = 0; k < one.length; k++) total += at(one, k) * at(other, k);
  return total;
}

/** Operations of a matrix of this size with so many vectors, about. */
export function eigenpairWork(size: number, vectors: number): number {
  return size * ((4 / 3) * size * size + (TURNS + 1) * vectors * vectors + 2 * size * vectors);
}

/** An eigenvector of a value, orthogonal to those before it. @param seed of its start */
function vectorOf(matrix: Tridiagonal, value: number, before: readonly Float64Array[], seed: number): Float64Array {
  const factors = factorised(matrix, value);
  let x = startOf(matrix.diagonal.length, seed);
  for (let turn = 0; turn < TURNS; turn++) {
    makeOrthogonal(x, before);
    x = solved(factors, x);
  }
  // Twice: what the first turn leaves of the others is in proportion to what it took away.
  makeOrthogonal(x, before);
  makeOrthogonal(x, before);
  return x;
}

/** Numbers from −1 to 1 without a pattern, by the same rule in every run. */
function startOf(size: number, seed: number): Float64Array {
  let state = (seed * 2 + 1) >>> 0;
  return Float64Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Takes the shares of orthonormal vectors out of `x`, and gives it the length 1. */
function makeOrthogonal(x: Float64Array, before: readonly Float64Array[]): void {
  for (const other of before) {
    let dot = 0;
    for (let i = 0; i < x.length; i++) dot += at(x, i) * at(other, i);
    for (let i = 0; i < x.length; i++) x[i] = at(x, i) - dot * at(other, i);
  }
  let largest = 0;
  for (let i = 0; i < x.length; i++) largest = Math.max(largest, Math.abs(at(x, i)));
  // Solutions of nearly singular systems are large: their squares could overflow.
  let squares = 0;
  for (let i = 0; i < x.length; i++) squares += (at(x, i) / largest) ** 2;
  const length = largest * Math.sqrt(squares);
  for (let i = 0; i < x.length; i++) x[i] = at(x, i) / length;
}

/** L·U of a shifted tridiagonal matrix with rows exchanged: U has three diagonals. */
interface Factors {
  readonly lower: Float64Array;
  readonly exchanged: Uint8Array;
  readonly upper: readonly [Float64Array, Float64Array, Float64Array];
}

function factorised({ diagonal, beside }: Tridiagonal, value: number): Factors {
  const size = diagonal.length;
  const [lower, exchanged] = [new Float64Array(size), new Uint8Array(size)];
  const upper = [new Float64Array(size), new Float64Array(size), new Float64Array(size)] as const;
  const [first, second, third] = upper;
  let scale = 0;
  for (let i = 0; i < size; i++) scale = Math.max(scale, Math.abs(at(diagonal, i)), Math.abs(at(beside, i)));
  // In the place of a pivot that is zero: a solution then grows by as much as doubles allow.
  const least = Math.max(scale * Number.EPSILON, Number.MIN_VALUE / Number.EPSILON);
  let pivot = at(diagonal, 0) - value;
  let right = size > 1 ? at(beside, 1) : 0;
  for (let i = 0; i < size; i++) {
    const below = i + 1 < size ? at(beside, i + 1) : 0;
    const next = i + 1 < size ? at(diagonal, i + 1) - value : 0;
    const beyond = i + 2 < size ? at(beside, i + 2) : 0;
    if (Math.abs(below) > Math.abs(pivot)) {
      const factor = pivot / below;
      [exchanged[i], lower[i], first[i], second[i], third[i]] = [1, factor, below, next, beyond];
      pivot = right - factor * next;
      right = -factor * beyond;
    } else {
      const safe = Math.abs(pivot) < least ? least : pivot;
      const factor = below / safe;
      [lower[i], first[i], second[i]] = [factor, safe, right];
      pivot = next - factor * right;
      right = beyond;
    }
  }
  return { lower, exchanged, upper };
}

function solved({ lower, exchanged, upper: [first, second, third] }: Factors, of: Float64Array): Float64Array {
  const x = of;
  const size = x.length;
  for (let i = 0; i + 1 < size; i++) {
    if (exchanged[i] === 1) [x[i], x[i + 1]] = [at(x, i + 1), at(x, i)];
    x[i + 1] = at(x, i + 1) - at(lower, i) * at(x, i);
  }
  for (let i = size - 1; i >= 0; i--) {
    const known = (i + 1 < size ? at(second, i) * at(x, i + 1) : 0) + (i + 2 < size ? at(third, i) * at(x, i + 2) : 0);
    x[i] = (at(x, i) - known) / at(first, i);
  }
  return x;
}

/** Makes an eigenvector of the two diagonals one of the matrix: the last reflection comes first; or the other way round. */
function turn({ size, pitch, data }: Symmetric, x: Float64Array, isForth = false): void {
  for (let place = 1; place < size; place++) {
    const i = isForth ? size - place : place;
    const row = i * pitch;
    const half = at(data, row + i);
    if (half === 0) continue;
    let dot = 0;
    for (let k = 0; k < i; k++) dot += at(data, row + k) * at(x, k);
    const share = dot / half;
    for (let k = 0; k < i; k++) x[k] = at(x, k) - share * at(data, row + k);
  }
}
