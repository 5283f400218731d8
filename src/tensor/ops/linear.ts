import { ELEMENTWISE } from "../../kernels/elementwise.ts";
import { GEMV_FLAGS, GEMV_MAX_ROWS, gemvKernel, gemvParameters, gemvTileCols } from "../../kernels/gemv.ts";
import { recordColumnSums } from "../column-sums.ts";
import { recordElementwise } from "../elementwise.ts";
import { recordGemm } from "../gemm.ts";
import { at, defineOp, matrixOf, type Of, requireShapes } from "../op.ts";
import { type Run } from "../run.ts";
import { elementBytes, type Tensor } from "../tensor.ts";
import { weightDtype } from "../weight.ts";
import { place, rowBlocks, type RowBlock, whole } from "../row-blocks.ts";

const ROLES = {
  inputs: { x: "needed", weight: "needed", bias: "optional", residual: "optional" },
  outputs: { y: "needed" },
} as const;

export interface LinearAttributes {
  /** Of the product; 1 by default. */
  readonly scale?: number | undefined;
}

/**
 * y = scale · x Wᵀ + bias + residual: x (rows, in) F32, W (out, in) as stored, bias (1, out), residual (rows, out). Up
 * to GEMV_MAX_ROWS rows take the vector path. A weight above the binding limit is read in blocks of rows.
 */
export const linear = defineOp(ROLES)<LinearAttributes>({
  name: "linear",
  shape({ x, weight, bias, residual }) {
    const fits =
      x[1] === weight[1] &&
      (bias === undefined || (bias[0] === 1 && bias[1] === weight[0])) &&
      (residual === undefined || (residual[0] === x[0] && residual[1] === weight[0]));
    requireShapes("linear", { x, weight, bias, residual }, fits, "x is rows×in, the weight out×in");
    return { y: { shape: [x[0], weight[0]] } };
  },
  forward(run, inputs, { scale = 1 }, { y }) {
    const { x: a, weight: b, bias, residual } = inputs;
    if (y.shape[0] > GEMV_MAX_ROWS) recordGemm(run, { order: "NT", a, b, y, scale, bias, residual });
    else for (const block of rowBlocks(run, b)) recordVector(run, inputs, scale, y, block);
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
      if (into.residual !== undefined) recordElementwise(run, ELEMENTWISE.copy, dy, undefined, into.residual);
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

type Inputs = Of<typeof ROLES.inputs, Tensor>;

/** A few rows of x times a block of W. */
function recordVector(run: Run, inputs: Inputs, scale: number, y: Tensor, block: RowBlock): void {
  const { x, weight, bias, residual } = inputs;
  const [rows, terms] = x.shape;
  const inVector = 16 / elementBytes(weight.dtype);
  const groups = Math.ceil(block.rows / gemvTileCols(run.staging));
  const groupsX = Math.min(groups, run.gpu.limits.maxComputeWorkgroupsPerDimension);
  const optional = (tensor: Tensor | undefined) => (tensor === undefined ? run.nothing : whole(run, tensor));
  run.dispatch(
    gemvKernel(run.staging, weightDtype("linear", weight), rows),
    gemvParameters({
      cols: block.rows,
      terms: Math.ceil(terms / 8),
      xWidth: Math.ceil(terms / 4),
      flags: (bias === undefined ? 0 : GEMV_FLAGS.hasBias) | (residual === undefined ? 0 : GEMV_FLAGS.hasResidual),
      x: place(x),
      w: [block.offset / inVector, weight.pitch / inVector],
      y: [(y.offset + block.first) / 4, y.pitch / 4],
      biasAt: ((bias?.offset ?? 0) + block.first) / 4,
      residual: [((residual?.offset ?? 0) + block.first) / 4, (residual?.pitch ?? 0) / 4],
      workgroupsX: groupsX,
      scale,
    }),
    [whole(run, x), block.binding, optional(bias), optional(residual), whole(run, y)],
    [groupsX, Math.ceil(groups / groupsX)],
  );
}
