import type { Steps } from "../frozen/drawing/bases.ts";
import { at, eigenvalueSteps, type Dense, gramSteps } from "./eigenvalues.ts";

/** Ranks that are tried: beyond, the whole matrix is cheaper than what was lost on the try. */
const MOST_RANK = 256;
/** What may be left out, as a part of the largest square: singular values below 8.4e-7 of the largest. */
const LEFT_OUT = 7e-13;
/** What is left is looked at as soon as it is this part of all squares together, and whenever it has fallen by as much again. */
const WORTH_A_LOOK = 1e-9;
const FALLEN = 1 / 8;
/** Turns of the power method, and what its estimate may then be too low by. */
const POWER_TURNS = 8;
const POWER_SLACK = 1.25;

/**
 * The squared singular values of a matrix of low rank, the largest first, in 2 · rows · cols operations each: Cholesky's
 * factor of A·Aᵀ (or Aᵀ·A, where that is smaller) with the largest pivot first, of which a row is computed when it is its
 * turn. It ends where what is left has no square above {@link LEFT_OUT} of the largest one: the rounding of A's elements,
 * which is spread over all of its directions, and so is in none of them what its sum is.
 *
 * @returns undefined for a matrix whose rank is not small
 */
function* lowRankSquareSteps(matrix: Dense): Steps<Float64Array | undefined> {
  const size = Math.min(matrix.rows, matrix.cols);
  const left = squaredNorms(matrix);
  const trace = sum(left);
  if (trace === 0) return new Float64Array();
  const most = Math.min(MOST_RANK, Math.floor(size / 4));
  const factor: Float64Array[] = [];
  let look = trace * WORTH_A_LOOK;
  for (;;) {
    const rest = sum(left);
    if (rest <= look) {
      look = rest * FALLEN;
      const squares = yield* eigenvalueSteps(productsOf(factor));
      const bound = (squares[0] ?? 0) * LEFT_OUT;
      if (rest <= bound || POWER_SLACK * (yield* largestLeftSteps(matrix, factor, size)) <= bound) return squares;
    }
    if (factor.length === most) return undefined;
    const pivot = largest(left);
    const row = productsWith(matrix, vectorAt(matrix, pivot));
    for (const known of factor) subtract(row, known, at(known, pivot));
    const root = Math.sqrt(at(left, pivot));
    for (let i = 0; i < size; i++) {
      const value = at(row, i) / root;
      row[i] = value;
      left[i] = Math.max(0, at(left, i) - value * value);
    }
    left[pivot] = 0;
    factor.push(row);
    yield;
  }
}

/** About the largest eigenvalue of A·Aᵀ less the factor's square: the power method from a vector of mixed signs. */
function* largestLeftSteps(matrix: Dense, factor: readonly Float64Array[], size: number): Steps<number> {
  let x: Float64Array = Float64Array.from({ length: size }, (_, i) => Math.sin(12.9898 * (i + 1) ** 2));
  let norm = 0;
  for (let turn = 0; turn < POWER_TURNS; turn++) {
    const length = Math.sqrt(dot(x, 0, x));
    if (length === 0) return 0;
    x = x.map((value) => value / length);
    const y = productsWith(matrix, combined(matrix, x));
    for (const known of factor) subtract(y, known, dot(known, 0, x));
    norm = Math.sqrt(dot(y, 0, y));
    x = y;
    yield;
  }
  return norm;
}

/** Squared norms of the rows, or of the columns where these are fewer. */
function squaredNorms({ rows, cols, data }: Dense): Float64Array {
  const byRow = rows <= cols;
  const squares = new Float64Array(Math.min(rows, cols));
  for (let row = 0; row < rows; row++) {
    const begin = row * cols;
    if (byRow) {
      let norm = 0;
      for (let col = 0; col < cols; col++) norm += (data[begin + col] as number) ** 2;
      squares[row] = norm;
    } else for (let col = 0; col < cols; col++) squares[col] = at(squares, col) + (data[begin + col] as number) ** 2;
  }
  return squares;
}

/** One of the rows; of the columns where these are fewer. */
function vectorAt({ rows, cols, data }: Dense, which: number): Float64Array {
  if (rows <= cols) return Float64Array.from(data.subarray(which * cols, (which + 1) * cols));
  return Float64Array.from({ length: rows }, (_, row) => data[row * cols + which] as number);
}

/** The sum of the rows, or the columns where these are fewer, times these factors. */
export function combined({ rows, cols, data }: Dense, factors: Float64Array): Float64Array {
  if (rows > cols) return Float64Array.from({ length: rows }, (_, row) => dot(data, row * cols, factors));
  const total = new Float64Array(cols);
  for (let row = 0; row < rows; row++) addRow(total, data, row * cols, at(factors, row));
  return total;
}

/** Products of a vector with all rows; with all columns where these are fewer. */
function productsWith({ rows, cols, data }: Dense, one: Float64Array): Float64Array {
  if (rows <= cols) return Float64Array.from({ length: rows }, (_, row) => dot(data, row * cols, one));
  const products = new Float64Array(cols);
  for (let row = 0; row < rows; row++) addRow(products, data, row * cols, at(one, row));
  return products;
}

function dot(data: Dense["data"], begin: number, one: Float64Array): number {
  let total = 0;
  for (let k = 0; k < one.length; k++) total += (data[begin + k] as number) * (one[k] as number);
  return total;
}

function addRow(to: Float64Array, data: Dense["data"], begin: number, factor: number): void {
  for (let k = 0; k < to.length; k++) to[k] = (to[k] as number) + factor * (data[begin + k] as number);
}

function subtract(from: Float64Array, known: Float64Array, factor: number): void {
  for (let i = 0; i < from.length; i++) from[i] = (from[i] as number) - factor * (known[i] as number);
}

/** The products of the factor's rows: their eigenvalues are those of the factor's square that are not zero. */
function productsOf(factor: readonly Float64Array[]) {
  const size = factor.length;
  const data = new Float64Array(size * size);
  for (const [i, row] of factor.entries()) {
    for (let j = 0; j <= i; j++) data[i * size + j] = dot(factor[j] ?? row, 0, row);
  }
  return { size, pitch: size, data };
}

function largest(values: Float64Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (at(values, i) > at(values, best)) best = i;
  return best;
}

function sum(values: Float64Array): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += at(values, i);
  return total;
}

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
