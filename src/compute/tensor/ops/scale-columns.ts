import { recordColumnSums } from "../column-sums.ts";
import { recordCopy } from "../elementwise.ts";
import { at, defineOp, matrixOf, requireShapes } from "../op.ts";
import { recordScaleColumns } from "../scale-columns.ts";

/** y = x · scale + bias + residual: x and residual (rows, cols), scale and bias (1, cols). */
export const scaleColumns = defineOp({
  inputs: { x: "needed", scale: "needed", bias: "optional", residual: "optional" },
  outputs: { y: "needed" },
})<object>({
  name: "scale-columns",
  shape({ x, scale, bias, residual }) {
    const fits =
      [scale, bias].every((vector) => vector === undefined || (vector[0] === 1 && vector[1] === x[1])) &&
      (residual === undefined || (residual[0] === x[0] && residual[1] === x[1]));
    requireShapes("scale-columns", { x, scale, bias, residual }, fits, "each column has a factor");
    return { y: { shape: x } };
  },
  forward(run, inputs, _, { y }) {
    recordScaleColumns(run, { ...inputs, y });
  },
  reference({ x, scale, bias, residual }) {
    return {
      y: matrixOf(...x.shape, (row, col) => {
        const added =
          (bias === undefined ? 0 : at(bias, 0, col)) + (residual === undefined ? 0 : at(residual, row, col));
        return at(x, row, col) * at(scale, 0, col) + added;
      }),
    };
  },
  derivative: {
    saves: (wanted) => [...(wanted.has("x") ? ["scale" as const] : []), ...(wanted.has("scale") ? ["x" as const] : [])],
    backward(run, { inputs: { x, scale }, gradients: { y: gradient }, into }) {
      if (gradient === undefined) return;
      if (into.x !== undefined) recordScaleColumns(run, { x: gradient, scale, y: into.x });
      if (into.scale !== undefined) recordColumnSums(run, { a: gradient, times: { b: x }, y: into.scale });
      if (into.bias !== undefined) recordColumnSums(run, { a: gradient, y: into.bias });
      if (into.residual !== undefined) recordCopy(run, gradient, into.residual);
    },
    gradient({ x, scale, bias, residual }, _, { y }) {
      const [rows, cols] = x.shape;
      const sum = (col: number, factor: (row: number) => number) => {
        let total = 0;
        for (let row = 0; row < rows; row++) total += at(y, row, col) * factor(row);
        return total;
      };
      return {
        x: matrixOf(rows, cols, (row, col) => at(y, row, col) * at(scale, 0, col)),
        scale: matrixOf(1, cols, (_, col) => sum(col, (row) => at(x, row, col))),
        bias: bias && matrixOf(1, cols, (_, col) => sum(col, () => 1)),
        residual: residual && y,
      };
    },
  },
});
