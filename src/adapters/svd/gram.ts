import type { Steps } from "../frozen/drawing/bases.ts";
import type { Symmetric } from "./eigenvalues.ts";

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
