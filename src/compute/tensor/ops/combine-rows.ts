import { recordGemm } from "../gemm.ts";
import { at, defineOp, matrixOf, requireShapes } from "../op.ts";

/**
 * y = factors · x: each row of y is a sum of rows of x, each with a factor of its own, such as the mean of some. factors
 * (out, rows) F32 are constants; x is (rows, cols).
 */
export const combineRows = defineOp({ inputs: { factors: "needed", x: "needed" }, outputs: { y: "needed" } })<object>({
  name: "combine-rows",
  shape({ factors, x }) {
    requireShapes("combine-rows", { factors, x }, factors[1] === x[0], "each row of x has a factor");
    return { y: { shape: [factors[0], x[1]] } };
  },
  forward(run, { factors, x }, _, { y }) {
    recordGemm(run, { order: "NN", a: factors, b: x, y });
  },
  reference({ factors, x }) {
    return {
      y: matrixOf(factors.shape[0], x.shape[1], (row, col) => {
        let sum = 0;
        for (let k = 0; k < x.shape[0]; k++) sum += at(factors, row, k) * at(x, k, col);
        return sum;
      }),
    };
  },
  derivative: {
    saves: () => ["factors"],
    backward(run, { inputs: { factors }, gradients: { y }, into: { x } }) {
      if (y !== undefined && x !== undefined) recordGemm(run, { order: "TN", a: factors, b: y, y: x });
    },
    gradient({ factors, x }, _, { y }) {
      return {
        x: matrixOf(...x.shape, (row, col) => {
          let sum = 0;
          for (let k = 0; k < y.shape[0]; k++) sum += at(factors, k, row) * at(y, k, col);
          return sum;
        }),
      };
    },
  },
});
