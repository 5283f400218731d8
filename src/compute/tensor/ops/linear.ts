import { recordColumnSums } from "../column-sums.ts";
import { recordCopy } from "../elementwise.ts";
import { recordGemm } from "../gemm.ts";
import { at, defineOp, matrixOf, requireShapes } from "../op.ts";

export interface LinearAttributes {
  /** Of the product; 1 by default. */
  readonly scale?: number | undefined;
  /** Rows of the largest pass of a batch, which decides how a device computes; see the family. */
  readonly rowsAtMost?: number | undefined;
}

/**
 * y = scale · x Wᵀ + bias + residual: x (rows, in) F32, W (out, in) as stored, bias (1, out), residual (rows, out).
 */
export const linear = defineOp({
  inputs: { x: "needed", weight: "needed", bias: "optional", residual: "optional" },
  outputs: { y: "needed" },
})<LinearAttributes>({
  name: "linear",
  shape({ x, weight, bias, residual }) {
    const fits =
      x[1] === weight[1] &&
      (bias === undefined || (bias[0] === 1 && bias[1] === weight[0])) &&
      (residual === undefined || (residual[0] === x[0] && residual[1] === weight[0]));
    requireShapes("linear", { x, weight, bias, residual }, fits, "x is rows×in, the weight out×in");
    return { y: { shape: [x[0], weight[0]] } };
  },
  forward(run, inputs, { scale = 1, rowsAtMost }, { y }) {
    run.compute("linear", { ...inputs, scale, rowsAtMost, y });
  },
  reference({ x, weight, bias, residual }, { scale = 1 }) {
    const [rows, terms] = x.shape;
    return {
      y: matrixOf(rows, weight.shape[0], (row, col) => {
        let sum = 0;
        for (let k = 0; k < terms; k++) sum += at(x, row, k) * at(weight, col, k);
        const added =
          (bias === undefined ? 0 : at(bias, 0, col)) + (residual === undefined ? 0 : at(residual, row, col));
        return scale * sum + added;
      }),
    };
  },
  derivative: {
    saves: (wanted) => [
      ...(wanted.has("x") ? ["weight" as const] : []),
      ...(wanted.has("weight") ? ["x" as const] : []),
    ],
    adds: ["weight"],
    backward(run, { inputs: { x, weight }, gradients: { y: dy }, into }, { scale = 1 }) {
      if (dy === undefined) return;
      if (into.x !== undefined) recordGemm(run, { order: "NN", a: dy, b: weight, y: into.x, scale });
      if (into.weight !== undefined) {
        recordGemm(run, { order: "TN", a: dy, b: x, y: into.weight, scale, accumulate: true });
      }
      if (into.bias !== undefined) recordColumnSums(run, { a: dy, y: into.bias });
      if (into.residual !== undefined) recordCopy(run, dy, into.residual);
    },
    gradient({ x, weight, bias, residual }, { scale = 1 }, { y: dy }) {
      const [rows, terms] = x.shape;
      const [out] = weight.shape;
      const sum = (count: number, term: (k: number) => number) => {
        let total = 0;
        for (let k = 0; k < count; k++) total += term(k);
        return total;
      };
      return {
        x: matrixOf(rows, terms, (row, k) => scale * sum(out, (col) => at(dy, row, col) * at(weight, col, k))),
        weight: matrixOf(out, terms, (col, k) => scale * sum(rows, (row) => at(dy, row, col) * at(x, row, k))),
        bias: bias && matrixOf(1, out, (_, col) => sum(rows, (row) => at(dy, row, col))),
        residual: residual && dy,
      };
    },
  },
});
