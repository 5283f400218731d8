import type { Steps } from "../frozen/drawing/bases.ts";

/** A matrix as it lies in memory, row-major without gaps. */
export interface Dense {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float32Array | Float64Array;
}

/** Terms of a sum that are taken at a time: four rows of so many fit the processor's first cache. */
const PANEL = 512;

/**
 * The products of all pairs of rows, or of columns where these are fewer: A·Aᵀ or Aᵀ·A, whose eigenvalues are the squares
 * of A's singular values. Sums in f64; the lower triangle alone is right.
 *
 * @param onWork told of operations done
 */
export function* gramSteps(matrix: Dense, onWork: (operations: number) => void = () => {}): Steps<Symmetric> {
  const size = Math.min(matrix.rows, matrix.cols);
  const terms = Math.max(matrix.rows, matrix.cols);
  const pitch = Math.ceil(size / 4) * 4;
  const gram = new Float64Array(pitch * pitch);
  const panel = new Float64Array(pitch * PANEL);
  for (let first = 0; first < terms; first += PANEL) {
    const count = Math.min(PANEL, terms - first);
    fillPanel(matrix, panel, first, count);
    for (let i = 0; i < pitch; i += 4) {
      for (let j = 0; j <= i; j += 4) addTile(panel, i * PANEL, j * PANEL, count, gram, i * pitch + j, pitch);
      onWork(8 * count * i);
      yield;
    }
  }
  return { size, pitch, data: gram };
}

/** `count` elements of each of the vectors whose products are wanted, from element `first` on. */
function fillPanel({ rows, cols, data }: Dense, panel: Float64Array, first: number, count: number): void {
  if (rows <= cols) {
    for (let row = 0; row < rows; row++) {
      for (let k = 0; k < count; k++) panel[row * PANEL + k] = data[row * cols + first + k] as number;
    }
    return;
  }
  for (let k = 0; k < count; k++) {
    const row = (first + k) * cols;
    for (let col = 0; col < cols; col++) panel[col * PANEL + k] = data[row + col] as number;
  }
}

/** Adds the products of four vectors with four to a tile of the matrix. */
function addTile(
  panel: Float64Array,
  a: number,
  b: number,
  count: number,
  gram: Float64Array,
  to: number,
  pitch: number,
): void {
  const a1 = a + PANEL;
  const a2 = a1 + PANEL;
  const a3 = a2 + PANEL;
  for (let col = 0; col < 4; col += 2) {
    const b0 = b + col * PANEL;
    const b1 = b0 + PANEL;
    let s00 = 0;
    let s01 = 0;
    let s10 = 0;
    let s11 = 0;
    let s20 = 0;
    let s21 = 0;
    let s30 = 0;
    let s31 = 0;
    for (let k = 0; k < count; k++) {
      const y0 = panel[b0 + k] as number;
      const y1 = panel[b1 + k] as number;
      const x0 = panel[a + k] as number;
      const x1 = panel[a1 + k] as number;
      const x2 = panel[a2 + k] as number;
      const x3 = panel[a3 + k] as number;
      s00 += x0 * y0;
      s01 += x0 * y1;
      s10 += x1 * y0;
      s11 += x1 * y1;
      s20 += x2 * y0;
      s21 += x2 * y1;
      s30 += x3 * y0;
      s31 += x3 * y1;
    }
    add(gram, to + col, s00, s01);
    add(gram, to + col + pitch, s10, s11);
    add(gram, to + col + 2 * pitch, s20, s21);
    add(gram, to + col + 3 * pitch, s30, s31);
  }
}

function add(gram: Float64Array, at: number, first: number, second: number): void {
  gram[at] = (gram[at] as number) + first;
  gram[at + 1] = (gram[at + 1] as number) + second;
}

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
