import type { NormNumbers } from "../../device/families/products.ts";
import { add } from "../../rows/arithmetic.ts";
import { type Activation, gatedActivation } from "../../rows/gates.ts";
import { rmsNorm } from "../../rows/norms.ts";
import { defineOp, type Matrix, matrixOf, requireShapes } from "../op.ts";
import { rowOp } from "../row-op.ts";
import { linear, type LinearAttributes } from "./linear.ts";

export interface NormedLinearAttributes extends NormNumbers, Pick<LinearAttributes, "rowsAtMost"> {
  /** The product's left half gates its right one; undefined: there are no halves. */
  readonly gate: Activation | undefined;
}

const INPUTS = {
  x: "needed",
  norm: "needed",
  weight: "needed",
  bias: "optional",
  branch: "optional",
  branchNorm: "optional",
} as const;

/**
 * y = rmsNorm(x) Wᵀ + bias, or f(left half of that) · right half: x (rows, in), norm (1, in), W (out, in) as stored, bias
 * (1, out). With a branch (rows, in) and its norm (1, in), sum = x + rmsNorm(branch) takes the place of x. What the ops
 * `rmsNorm`, `add`, `linear` and `gatedActivation` do one after the other, for passes that are never differentiated.
 */
export const normedLinear = defineOp({
  inputs: INPUTS,
  outputs: { y: "needed", sum: "optional" },
})<NormedLinearAttributes>({
  name: "normed-linear",
  shape(inputs, { gate }) {
    const { x, norm, weight, bias, branch, branchNorm } = inputs;
    const [out, width] = weight;
    const isRow = (shape: typeof x | undefined, cols: number) =>
      shape === undefined || (shape[0] === 1 && shape[1] === cols);
    const joins = (branch === undefined) === (branchNorm === undefined);
    const sameAsX = branch === undefined || (branch[0] === x[0] && branch[1] === x[1]);
    const fits = x[1] === width && isRow(norm, width) && isRow(bias, out) && sameAsX && isRow(branchNorm, width);
    const rule = "x is rows×in, as is a branch, which has a norm; norms 1×in, the weight out×in";
    requireShapes("normed-linear", inputs, fits && joins, rule);
    const halves = gate === undefined || out % 8 === 0;
    requireShapes("normed-linear", { weight }, halves, "halves are multiples of 4");
    return {
      y: { shape: [x[0], gate === undefined ? out : out / 2] },
      sum: branch && { shape: x },
    };
  },
  forward(run, { x, norm, weight, bias, branch, branchNorm }, attributes, { y, sum }) {
    const { epsilon, offset, gate, rowsAtMost } = attributes;
    run.compute("normedLinear", {
      rowsAtMost,
      x,
      norm: {
        weight: norm,
        epsilon,
        offset,
        branch: branch && branchNorm && sum && { x: branch, weight: branchNorm, sum },
      },
      weight,
      bias,
      gate,
      y,
    });
  },
  reference({ x, norm, weight, bias, branch, branchNorm }, { gate, ...attributes }) {
    const normed = (of: Matrix, by: Matrix) => rowOp(rmsNorm).reference({ x: of, weight: by }, attributes).y;
    const sum = branch && branchNorm && rowOp(add).reference({ a: x, b: normed(branch, branchNorm) }, {}).y;
    const operands = { x: normed(sum ?? x, norm), weight, bias, residual: undefined };
    const { y: product } = linear.reference(operands, {});
    if (gate === undefined) return { y: product, sum };
    const [rows, cols] = product.shape;
    const half = (first: number) =>
      matrixOf(rows, cols / 2, (row, col) => product.data[row * cols + first + col] ?? NaN);
    return { ...rowOp(gatedActivation).reference({ gate: half(0), up: half(cols / 2) }, { kind: gate }), sum };
  },
  derivative: "constant",
});
