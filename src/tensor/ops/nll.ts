import {
  NLL_BACKWARD_KERNEL,
  NLL_BACKWARD_WIDTH,
  NLL_FLAGS,
  nllBackwardParameters,
  nllBlock,
  nllKernel,
  nllParameters,
} from "../../kernels/nll.ts";
import { recordGemm } from "../gemm.ts";
import { at, defineOp, type Matrix, matrixOf, requireShapes } from "../op.ts";
import { type Run } from "../run.ts";
import { sliceRows, type Tensor } from "../tensor.ts";
import { linear } from "./linear.ts";
import { place, whole } from "../row-blocks.ts";

export interface NllAttributes {
  /** Logits become cap · tanh(logit / cap) first; undefined: they do not. */
  readonly softcap: number | undefined;
}

/**
 * The negative log-likelihood of one target a row: y = lse − logits[target] and lse = log Σ exp(logits), where
 * logits = x Wᵀ with x (tokens, hidden) and the output matrix W (vocabulary, hidden). The logits exist for a block of
 * the vocabulary at a time, in sums of at most 256 terms; the backward pass computes them again. Targets: (1, tokens)
 * U32, below the vocabulary. Both outputs are (tokens, 1).
 */
export const nll = defineOp({
  inputs: { x: "needed", weight: "needed", targets: "needed" },
  outputs: { y: "needed", lse: "needed" },
})<NllAttributes>({
  name: "nll",
  shape({ x, weight, targets }) {
    const fits = x[1] === weight[1] && targets[0] === 1 && targets[1] === x[0];
    requireShapes("nll", { x, weight, targets }, fits, "x is tokens×in, the weight out×in, the targets 1×tokens");
    return { y: { shape: [x[0], 1] }, lse: { shape: [x[0], 1] } };
  },
  forward(run, { x, weight, targets }, { softcap }, { y, lse }) {
    const [tokens] = x.shape;
    const [vocabulary] = weight.shape;
    const state = run.allocate("nll.state", [tokens, 4]);
    for (const block of blocks(run, tokens, weight)) {
      const logits = recordLogits(run, x, block.weight);
      run.dispatch(
        nllKernel(run.staging),
        nllParameters({
          cols: block.cols,
          first: block.first,
          logits: place(logits),
          targetsAt: targets.offset,
          isFirst: block.first === 0,
          isLast: block.first + block.cols === vocabulary,
          nll: place(y),
          lse: place(lse),
          cap: softcap ?? 0,
        }),
        [logits, targets, state, y, lse].map((tensor) => whole(run, tensor)),
        [tokens],
      );
      run.release(logits);
    }
    run.release(state);
  },
  reference({ x, weight, targets }, { softcap }) {
    const logits = cappedLogits(x, weight, softcap);
    const lse = logSumExp(logits);
    return { lse, y: matrixOf(x.shape[0], 1, (row) => at(lse, row, 0) - at(logits, row, at(targets, 0, row))) };
  },
  derivative: {
    saves: () => ["x", "weight", "targets", "lse"],
    adds: ["weight"],
    backward(run, { inputs, outputs, gradients, into }, { softcap }) {
      const { x, weight } = inputs;
      for (const block of blocks(run, x.shape[0], weight)) {
        const logits = recordLogits(run, x, block.weight);
        recordGradient(run, logits, block.first, {
          ...inputs,
          ...outputs,
          dy: gradients.y,
          dlse: gradients.lse,
          softcap,
        });
        if (into.x !== undefined) {
          recordGemm(run, { order: "NN", a: logits, b: block.weight, y: into.x, accumulate: block.first > 0 });
        }
        if (into.weight !== undefined) {
          const y = sliceRows(into.weight, block.first, block.cols);
          recordGemm(run, { order: "TN", a: logits, b: x, y, accumulate: true });
        }
        run.release(logits);
      }
    },
    gradient({ x, weight, targets }, { softcap }, { y: dy, lse: dlse }) {
      const logits = cappedLogits(x, weight, softcap);
      const lse = logSumExp(logits);
      const dlogits = matrixOf(...logits.shape, (row, col) => {
        const value = at(logits, row, col);
        const slope = softcap === undefined ? 1 : 1 - (value / softcap) ** 2;
        const softmax = Math.exp(value - at(lse, row, 0));
        const picked = at(targets, 0, row) === col ? at(dy, row, 0) : 0;
        return slope * (softmax * (at(dy, row, 0) + at(dlse, row, 0)) - picked);
      });
      const inputs = { x, weight, bias: undefined, residual: undefined };
      const { derivative } = linear;
      if (derivative === "constant") throw new Error("a linear layer has a derivative");
      const { x: dx, weight: dweight } = derivative.gradient(inputs, {}, { y: dlogits });
      return { x: dx, weight: dweight };
    },
  },
});

/** The output matrix in blocks of rows: as many columns of logits as may exist at a time. */
function blocks({ staging }: Run, tokens: number, weight: Tensor): { first: number; cols: number; weight: Tensor }[] {
  const [vocabulary] = weight.shape;
  const most = nllBlock(staging, tokens);
  return Array.from({ length: Math.ceil(vocabulary / most) }, (_, index) => {
    const first = index * most;
    const cols = Math.min(most, vocabulary - first);
    return { first, cols, weight: sliceRows(weight, first, cols) };
  });
}

/** The same bits in the forward and in the backward pass. */
function recordLogits(run: Run, x: Tensor, weight: Tensor): Tensor {
  return run.apply(linear, { x, weight, bias: undefined, residual: undefined }, {}).y;
}

interface GradientParts {
  readonly targets: Tensor;
  readonly lse: Tensor;
  readonly dy: Tensor | undefined;
  readonly dlse: Tensor | undefined;
  readonly softcap: number | undefined;
}

/** Records that logits of the tokens `first` … of the vocabulary become their gradient. */
function recordGradient(run: Run, logits: Tensor, first: number, parts: GradientParts): void {
  const { targets, lse, dy, dlse, softcap } = parts;
  const [tokens, cols] = logits.shape;
  run.dispatch(
    NLL_BACKWARD_KERNEL,
    nllBackwardParameters({
      cols,
      first,
      logits: place(logits),
      targetsAt: targets.offset,
      lse: place(lse),
      dy: place(dy),
      dlse: place(dlse),
      flags: (dy === undefined ? 0 : NLL_FLAGS.hasDy) | (dlse === undefined ? 0 : NLL_FLAGS.hasDlse),
      cap: softcap ?? 0,
    }),
    [logits, targets, lse, dy, dlse].map((tensor) => (tensor === undefined ? run.nothing : whole(run, tensor))),
    [Math.ceil(cols / 4 / NLL_BACKWARD_WIDTH), tokens],
  );
}

function cappedLogits(x: Matrix, weight: Matrix, softcap: number | undefined): Matrix {
  const { y } = linear.reference({ x, weight, bias: undefined, residual: undefined }, {});
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
