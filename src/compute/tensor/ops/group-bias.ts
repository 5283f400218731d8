import { recordCopy } from "../elementwise.ts";
import { at, defineOp, type Matrix, matrixOf, requireShapes } from "../op.ts";
import { groupsOf } from "./grouped-linear.ts";

/**
 * y[r] = x[r] + bias of the group that row r belongs to: rows begins[g] … begins[g + 1] − 1 of x (rows, cols) F32 have that of group g,
 * elements g · cols … of bias (1, groups · cols) F32. begins as of `groupedLinear`.
 */
export const groupBias = defineOp({
  inputs: { x: "needed", bias: "needed", begins: "needed" },
  outputs: { y: "needed" },
})<object>({
  name: "group-bias",
  shape({ x, bias, begins }) {
    const fits = begins[0] === 1 && begins[1] >= 2 && bias[0] === 1 && bias[1] === (begins[1] - 1) * x[1];
    requireShapes("group-bias", { x, bias, begins }, fits, "x is rows×cols, the bias 1×groups · cols");
    return { y: { shape: x } };
  },
  forward(run, inputs, _, { y }) {
    run.compute("groupBias", { ...inputs, y });
  },
  reference({ x, bias, begins }) {
    const groups = groupsOf(begins);
    return {
      y: matrixOf(...x.shape, (row, col) => at(x, row, col) + at(bias, 0, (groups[row] ?? NaN) * x.shape[1] + col)),
    };
  },
  derivative: {
    saves: (wanted) => (wanted.has("bias") ? ["begins"] : []),
    backward(run, { inputs: { begins }, gradients: { y: dy }, into }) {
      if (dy === undefined) return;
      if (into.x !== undefined) recordCopy(run, dy, into.x);
      if (into.bias !== undefined) run.compute("groupSums", { x: dy, begins, y: into.bias });
    },
    gradient({ bias, begins }, _, { y: dy }) {
      const sums: Matrix = { shape: bias.shape, data: new Float64Array(bias.data.length) };
      groupsOf(begins).forEach((group, row) => {
        for (let col = 0; col < dy.shape[1]; col++) {
          const to = group * dy.shape[1] + col;
          sums.data[to] = (sums.data[to] ?? NaN) + at(dy, row, col);
        }
      });
      return { x: dy, bias: sums };
    },
  },
});
