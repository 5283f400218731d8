import { recordColumnSums } from "../column-sums.ts";
import { at, defineOp, type Matrix, matrixOf, requireShapes } from "../op.ts";

/**
 * y = (x − mean) / √(variance + ε) · weight + bias, each row by itself, with the variance of all elements as a
 * population's (Ba, Kiros and Hinton, arXiv:1607.06450). x is (rows, cols), weight and bias (1, cols) F32.
 */
export const layerNorm = defineOp({
  inputs: { x: "needed", weight: "needed", bias: "optional" },
  outputs: { y: "needed" },
})<{ readonly epsilon: number }>({
  name: "layer-norm",
  shape({ x, weight, bias }) {
    const fits = [weight, bias].every((shape) => shape === undefined || (shape[0] === 1 && shape[1] === x[1]));
    requireShapes("layer-norm", { x, weight, bias }, fits, "weight and bias are one row, as long as those of x");
    return { y: { shape: x } };
  },
  forward(run, { x, weight, bias }, { epsilon }, { y }) {
    run.compute("layerNorm", { x, weight, bias, epsilon, y });
  },
  reference({ x, weight, bias }, { epsilon }) {
    const normed = normalized(x, epsilon).data;
    const cols = x.shape[1];
    const shift = (col: number) => (bias === undefined ? 0 : at(bias, 0, col));
    return {
      y: matrixOf(...x.shape, (row, col) => (normed[row * cols + col] ?? NaN) * at(weight, 0, col) + shift(col)),
    };
  },
  derivative: {
    saves: (wanted) => (wanted.has("x") || wanted.has("weight") ? ["x", "weight"] : []),
    backward(run, { inputs: { x, weight }, gradients: { y: dy }, into }, { epsilon }) {
      if (dy === undefined) return;
      if (into.bias !== undefined) recordColumnSums(run, { a: dy, y: into.bias });
      if (into.x === undefined && into.weight === undefined) return;
      run.compute("layerNormGradient", { x, weight, dy, epsilon, dx: into.x, dweight: into.weight });
    },
    gradient({ x, weight, bias }, { epsilon }, { y: dy }) {
      const [rows, cols] = x.shape;
      const { data: normed, inverses } = normalized(x, epsilon);
      const n = (row: number, col: number) => normed[row * cols + col] ?? NaN;
      const h = (row: number, col: number) => at(dy, row, col) * at(weight, 0, col);
      const means = inverses.map((_, row) => sum(cols, (col) => h(row, col)) / cols);
      const along = inverses.map((_, row) => sum(cols, (col) => h(row, col) * n(row, col)) / cols);
      return {
        x: matrixOf(rows, cols, (row, col) => {
          const rest = h(row, col) - (means[row] ?? NaN) - n(row, col) * (along[row] ?? NaN);
          return (inverses[row] ?? NaN) * rest;
        }),
        weight: matrixOf(1, cols, (_, col) => sum(rows, (row) => at(dy, row, col) * n(row, col))),
        bias: bias && matrixOf(1, cols, (_, col) => sum(rows, (row) => at(dy, row, col))),
      };
    },
  },
});

function sum(count: number, term: (index: number) => number): number {
  let total = 0;
  for (let index = 0; index < count; index++) total += term(index);
  return total;
}

/** (x − mean) / √(variance + ε), and 1 / √(variance + ε) of each row. */
function normalized(x: Matrix, epsilon: number): { data: Float64Array; inverses: number[] } {
  const [rows, cols] = x.shape;
  const data = new Float64Array(rows * cols);
  const inverses = Array.from({ length: rows }, (_, row) => {
    const mean = sum(cols, (col) => at(x, row, col)) / cols;
    const variance = sum(cols, (col) => (at(x, row, col) - mean) ** 2) / cols;
    const inverse = 1 / Math.sqrt(variance + epsilon);
    for (let col = 0; col < cols; col++) data[row * cols + col] = (at(x, row, col) - mean) * inverse;
    return inverse;
  });
  return { data, inverses };
}
