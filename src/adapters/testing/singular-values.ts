import { itemAt } from "../../files/item-at.ts";

/**
 * The singular values of a matrix (rows, cols), row-major, the largest first: one-sided Jacobi rotations of its columns in
 * f64 until all are orthogonal (Golub and Van Loan, Matrix Computations, 4th edition, section 8.6.3). For small ones.
 */
export function singularValues(matrix: ArrayLike<number>, rows: number, cols: number): number[] {
  if (rows < cols) {
    const turned = Float64Array.from({ length: rows * cols }, (_, at) =>
      itemAt(matrix, (at % rows) * cols + Math.floor(at / rows)),
    );
    return singularValues(turned, cols, rows);
  }
  const columns = Array.from({ length: cols }, (_, col) =>
    Float64Array.from({ length: rows }, (_, row) => itemAt(matrix, row * cols + col)),
  );
  const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, at) => sum + value * itemAt(b, at), 0);
  for (let sweep = 0, turned = true; turned && sweep < 60; sweep++) {
    turned = false;
    for (const [index, a] of columns.entries()) {
      for (const b of columns.slice(index + 1)) {
        const [aa, bb, ab] = [dot(a, a), dot(b, b), dot(a, b)];
        if (Math.abs(ab) <= 1e-15 * Math.sqrt(aa * bb)) continue;
        turned = true;
        const zeta = (bb - aa) / (2 * ab);
        const tangent = Math.sign(zeta || 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const cosine = 1 / Math.hypot(1, tangent);
        const sine = cosine * tangent;
        for (const [row, value] of a.entries()) {
          const other = itemAt(b, row);
          a[row] = cosine * value - sine * other;
          b[row] = sine * value + cosine * other;
        }
      }
    }
  }
  return columns.map((column) => Math.sqrt(dot(column, column))).toSorted((a, b) => b - a);
}

/** The numerical rank: how many singular values exceed 1e-6 of the largest. */
export function rankOf(matrix: ArrayLike<number>, rows: number, cols: number): number {
  const values = singularValues(matrix, rows, cols);
  return values.filter((value) => value > 1e-6 * itemAt(values, 0)).length;
}
