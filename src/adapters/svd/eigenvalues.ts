import type { Steps } from "../frozen/drawing/bases.ts";

/** A symmetric matrix of which the lower triangle is given, rows `pitch` elements apart. It is overwritten with reflections. */
export interface Symmetric {
  readonly size: number;
  readonly pitch: number;
  readonly data: Float64Array;
}

/**
 * The eigenvalues of a symmetric matrix, the largest first: Householder's reduction to a tridiagonal matrix (4/3 · n³
 * operations), then implicit QL steps (Golub and Van Loan, Matrix Computations, 8.3). Each is off by a few ε · ‖A‖ at most.
 *
 * @param onWork told of operations done
 * @throws RangeError for a matrix that is not finite
 */
export function* eigenvalueSteps(
  matrix: Symmetric,
  onWork: (operations: number) => void = () => {},
): Steps<Float64Array> {
  return yield* tridiagonalValueSteps(yield* tridiagonalSteps(matrix, onWork));
}

/** A symmetric matrix of two diagonals: element i of `beside` stands between i − 1 and i. */
export interface Tridiagonal {
  readonly diagonal: Float64Array;
  readonly beside: Float64Array;
}

/** Its eigenvalues, the largest first. @throws RangeError where it is not finite */
export function* tridiagonalValueSteps({ diagonal, beside }: Tridiagonal): Steps<Float64Array> {
  const values = diagonal.slice();
  yield* qlSteps(values, beside);
  return values.toSorted().toReversed();
}

/**
 * Reduces a matrix to two diagonals, from its last row upwards. A step's change of rank two is made when the next one reads
 * the rows: they pass through the processor once a step. Row i is left with the reflection I − v·vᵀ/h that reduced it: v
 * in its first i elements, h in the next one; h is 0 where nothing was reflected.
 */
export function* tridiagonalSteps(
  { size, pitch, data: a }: Symmetric,
  onWork: (operations: number) => void = () => {},
): Steps<Tridiagonal> {
  const diagonal = new Float64Array(size);
  const beside = new Float64Array(size);
  // Of the step before: A − u·pᵀ − p·uᵀ is what is meant by A.
  let u = new Float64Array(size);
  let p = new Float64Array(size);
  let v = new Float64Array(size);
  let q = new Float64Array(size);
  for (let i = size - 1; i > 0; i--) {
    const last = i * pitch;
    // Of all but the one that stays: as a difference of sums, a small one would be lost beside that.
    let tail = 0;
    for (let k = 0; k < i; k++) {
      const value = at(a, last + k) - at(u, i) * at(p, k) - at(p, i) * at(u, k);
      v[k] = value;
      if (k < i - 1) tail += value * value;
    }
    diagonal[i] = at(a, last + i) - 2 * at(u, i) * at(p, i);
    const first = at(v, i - 1);
    const isReduced = !(tail > 0);
    const norm = Math.sqrt(tail + first * first);
    const length = isReduced ? first : first >= 0 ? -norm : norm;
    beside[i] = length;
    // v is the direction that is mirrored; nothing is, where it is zero.
    const half = isReduced ? 0 : tail + first * first - first * length;
    if (isReduced) v.fill(0, 0, i);
    else v[i - 1] = first - length;
    q.fill(0, 0, i);
    for (let j = 0; j < i; j++) reduceRow(a, j * pitch, j, u, p, v, q);
    if (half > 0) {
      let dot = 0;
      for (let j = 0; j < i; j++) {
        const value = at(q, j) / half;
        q[j] = value;
        dot += value * at(v, j);
      }
      const share = dot / (2 * half);
      for (let j = 0; j < i; j++) q[j] = at(q, j) - share * at(v, j);
    } else q.fill(0, 0, i);
    a.set(v.subarray(0, i), last);
    a[last + i] = Math.max(0, half);
    [u, p, v, q] = [v, q, u, p];
    onWork(4 * i * i);
    yield;
  }
  diagonal[0] = at(a, 0) - 2 * at(u, 0) * at(p, 0);
  return { diagonal, beside };
}

/** Row j up to the diagonal: makes the change of the step before, and adds its share to q = A·v. */
function reduceRow(
  a: Float64Array,
  row: number,
  j: number,
  u: Float64Array,
  p: Float64Array,
  v: Float64Array,
  q: Float64Array,
): void {
  // One by one: taken apart from an array they cost four fifths of the speed.
  const uj = at(u, j);
  const pj = at(p, j);
  const vj = at(v, j);
  let sum = 0;
  for (let k = 0; k < j; k++) {
    const value = at(a, row + k) - uj * at(p, k) - pj * at(u, k);
    a[row + k] = value;
    sum += value * at(v, k);
    q[k] = at(q, k) + value * vj;
  }
  const value = at(a, row + j) - 2 * uj * pj;
  a[row + j] = value;
  q[j] = at(q, j) + sum + value * vj;
}

/** Makes the tridiagonal matrix diagonal. */
function* qlSteps(d: Float64Array, beside: Float64Array): Steps<void> {
  const size = d.length;
  const e = new Float64Array(size);
  e.set(beside.subarray(1));
  for (let first = 0; first < size; first++) {
    for (let turn = 0; ; turn++) {
      let end = first;
      while (end < size - 1 && !isNegligible(at(e, end), at(d, end), at(d, end + 1))) end++;
      if (end === first) break;
      if (turn === MOST_TURNS) throw new RangeError("eigenvalues of a matrix that is not finite");
      qlStep(d, e, first, end);
    }
    if (first % 16 === 0) yield;
  }
}

/** Two or three are usual. */
const MOST_TURNS = 60;

function isNegligible(e: number, above: number, below: number): boolean {
  const size = Math.abs(above) + Math.abs(below);
  return Math.abs(e) + size === size;
}

/** One step of rows first … end, with Wilkinson's shift. */
function qlStep(d: Float64Array, e: Float64Array, first: number, end: number): void {
  const slope = (at(d, first + 1) - at(d, first)) / (2 * at(e, first));
  const root = Math.sqrt(slope * slope + 1);
  let g = at(d, end) - at(d, first) + at(e, first) / (slope + (slope >= 0 ? root : -root));
  let sine = 1;
  let cosine = 1;
  let lost = 0;
  for (let i = end - 1; i >= first; i--) {
    const f = sine * at(e, i);
    const b = cosine * at(e, i);
    const length = Math.sqrt(f * f + g * g);
    e[i + 1] = length;
    if (length === 0) {
      d[i + 1] = at(d, i + 1) - lost;
      e[end] = 0;
      return;
    }
    sine = f / length;
    cosine = g / length;
    g = at(d, i + 1) - lost;
    const turned = (at(d, i) - g) * sine + 2 * cosine * b;
    lost = sine * turned;
    d[i + 1] = g + lost;
    g = cosine * turned - b;
  }
  d[first] = at(d, first) - lost;
  e[first] = g;
  e[end] = 0;
}

/** An element that is there. */
export function at(values: Float64Array, index: number): number {
  return values[index] as number;
}
