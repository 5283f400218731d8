import { at, defineOp, type Matrix, matrixOf, requireShapes } from "../op.ts";
import { linear } from "./linear.ts";

export interface NllAttributes {
  /** Logits become cap · tanh(logit / cap) first; undefined: they do not. */
  readonly softcap: number | undefined;
  /** Rows of the largest pass of a batch, which decides how a device computes; see the family of linear layers. */
  readonly rowsAtMost?: number | undefined;
}

/**
 * The negative log-likelihood of one target a row: y = lse − logits[target] and lse = log Σ exp(logits), where
 * logits = x Wᵀ + bias with x (tokens, hidden), the output matrix W (vocabulary, hidden) and a bias (1, vocabulary). The
 * logits exist for a block of the vocabulary at a time, in sums of at most 256 terms; the backward pass computes them
 * again. Targets: (1, tokens) U32, below the vocabulary. Both outputs are (tokens, 1).
 */
export const nll = defineOp({
  inputs: { x: "needed", weight: "needed", bias: "optional", targets: "needed" },
  outputs: { y: "needed", lse: "needed" },
})<NllAttributes>({
  name: "nll",
  shape({ x, weight, bias, targets }) {
    const fits =
      x[1] === weight[1] &&
      (bias === undefined || (bias[0] === 1 && bias[1] === weight[0])) &&
      targets[0] === 1 &&
      targets[1] === x[0];
    const rule = "x is tokens×in, the weight out×in, the bias 1×out, the targets 1×tokens";
    requireShapes("nll", { x, weight, bias, targets }, fits, rule);
    return { y: { shape: [x[0], 1] }, lse: { shape: [x[0], 1] } };
  },
  forward(run, inputs, { softcap, rowsAtMost }, { y, lse }) {
    run.compute("nll", { ...inputs, softcap, rowsAtMost, y, lse });
  },
  reference({ x, weight, bias, targets }, { softcap }) {
    const logits = cappedLogits(x, weight, bias, softcap);
    const lse = logSumExp(logits);
    return { lse, y: matrixOf(x.shape[0], 1, (row) => at(lse, row, 0) - at(logits, row, at(targets, 0, row))) };
  },
  derivative: {
    saves: () => ["x", "weight", "bias", "targets", "lse"],
    adds: ["weight"],
    backward(run, { inputs, outputs, gradients, into }, { softcap, rowsAtMost }) {
      const { lse } = outputs;
      const given = { dy: gradients.y, dlse: gradients.lse, dx: into.x, dweight: into.weight, dbias: into.bias };
      run.compute("nllGradient", { ...inputs, softcap, rowsAtMost, lse, ...given });
    },
    gradient({ x, weight, bias, targets }, { softcap }, { y: dy, lse: dlse }) {
      const logits = cappedLogits(x, weight, bias, softcap);
      const lse = logSumExp(logits);
      const dlogits = matrixOf(...logits.shape, (row, col) => {
        const value = at(logits, row, col);
        const slope = softcap === undefined ? 1 : 1 - (value / softcap) ** 2;
        const softmax = Math.exp(value - at(lse, row, 0));
        const picked = at(targets, 0, row) === col ? at(dy, row, 0) : 0;
        return slope * (softmax * (at(dy, row, 0) + at(dlse, row, 0)) - picked);
      });
      const inputs = { x, weight, bias, residual: undefined };
      const { derivative } = linear;
      if (derivative === "constant") throw new Error("a linear layer has a derivative");
      const { x: dx, weight: dweight, bias: dbias } = derivative.gradient(inputs, {}, { y: dlogits });
      return { x: dx, weight: dweight, bias: dbias };
    },
  },
});

function cappedLogits(x: Matrix, weight: Matrix, bias: Matrix | undefined, softcap: number | undefined): Matrix {
  const { y } = linear.reference({ x, weight, bias, residual: undefined }, {});
  if (softcap === undefined) return y;
  return { ...y, data: y.data.map((value) => softcap * Math.tanh(value / softcap)) };
}

function logSumExp(logits: Matrix): Matrix {
  const [rows, cols] = logits.shape;
  return matrixOf(rows, 1, (row) => {
    const values = logits.data.subarray(row * cols, (row + 1) * cols);
    const top = values.reduce((most, value) => Math.max(most, value), -Infinity);
    return top + Math.log(values.reduce((total, value) => total + Math.exp(value - top), 0));
  });
}
