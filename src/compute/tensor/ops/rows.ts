import { recordZero } from "../fill.ts";
import { at, defineOp, matrixOf, requireShapes, zeros } from "../op.ts";

/**
 * y[i] = x[indices[i]]: the rows of x (rows, cols) that something is computed from, the supervised tokens for example.
 * Indices: (1, count) U32, below the rows, no two equal. The gradient of the other rows is zero.
 */
export const rows = defineOp({ inputs: { x: "needed", indices: "needed" }, outputs: { y: "needed" } })<object>({
  name: "rows",
  shape({ x, indices }) {
    const fits = indices[0] === 1 && indices[1] <= x[0];
    requireShapes("rows", { x, indices }, fits, "the indices must be one row, no more than x has rows");
    return { y: { shape: [indices[1], x[1]] } };
  },
  forward(run, { x, indices }, _, { y }) {
    run.compute("rows", { scatter: false, x, indices, y });
  },
  reference({ x, indices }) {
    return { y: matrixOf(indices.shape[1], x.shape[1], (row, col) => at(x, at(indices, 0, row), col)) };
  },
  derivative: {
    saves: () => ["indices"],
    backward(run, { inputs, gradients, into }) {
      if (into.x === undefined) return;
      recordZero(run, into.x);
      const { y: x } = gradients;
      if (x !== undefined) run.compute("rows", { scatter: true, x, indices: inputs.indices, y: into.x });
    },
    gradient({ x, indices }, _, { y }) {
      const dx = zeros(...x.shape);
      const cols = x.shape[1];
      indices.data.forEach((to, row) => dx.data.set(y.data.subarray(row * cols, (row + 1) * cols), to * cols));
      return { x: dx };
    },
  },
});
