import { f32, uniform } from "../../kernels/parameters.ts";
import { NLL_BLOCK, nllKernel } from "../../kernels/nll.ts";
import { at, defineOp, matrixOf, requireShapes } from "../op.ts";
import { whole } from "../run.ts";
import { sliceRows } from "../tensor.ts";
import { linear } from "./linear.ts";

export interface NllAttributes {
  /** Logits become cap · tanh(logit / cap) first; undefined: they do not. */
  readonly softcap: number | undefined;
}

/**
 * The negative log-likelihood of one target a row: y = log Σ exp(logits) − logits[target], where logits = x Wᵀ with
 * x (tokens, hidden) and the output matrix W (vocabulary, hidden). The logits exist for a block of the vocabulary at a
 * time, in sums of at most 256 terms. Targets: (1, tokens) U32, below the vocabulary.
 */
export const nll = defineOp({
  inputs: { x: "needed", weight: "needed", targets: "needed" },
  outputs: { y: "needed" },
})<NllAttributes>({
  name: "nll",
  shape({ x, weight, targets }) {
    const fits = x[1] === weight[1] && targets[0] === 1 && targets[1] === x[0];
    requireShapes("nll", { x, weight, targets }, fits, "x is tokens×in, the weight out×in, the targets 1×tokens");
    return { y: { shape: [x[0], 1] } };
  },
  forward(run, { x, weight, targets }, { softcap }, { y }) {
    const [tokens] = x.shape;
    const [vocabulary] = weight.shape;
    const state = run.allocate("nll.state", [tokens, 4]);
    for (let first = 0; first < vocabulary; first += NLL_BLOCK) {
      const cols = Math.min(NLL_BLOCK, vocabulary - first);
      const block = sliceRows(weight, first, cols);
      const { y: logits } = run.apply(linear, { x, weight: block, bias: undefined, residual: undefined }, {});
      run.dispatch(
        nllKernel(run.staging),
        uniform(
          cols,
          first,
          logits.offset / 4,
          logits.pitch / 4,
          targets.offset,
          Number(first === 0),
          Number(first + cols === vocabulary),
          y.offset,
          y.pitch,
          f32(softcap ?? 0),
        ),
        [logits, targets, state, y].map((tensor) => whole(run, tensor)),
        [tokens],
      );
      run.release(logits);
    }
    run.release(state);
  },
  reference({ x, weight, targets }, { softcap }) {
    const { y: logits } = linear.reference({ x, weight, bias: undefined, residual: undefined }, {});
    const vocabulary = weight.shape[0];
    const row = (index: number) => {
      const values = logits.data.subarray(index * vocabulary, (index + 1) * vocabulary);
      return softcap === undefined ? values : values.map((value) => softcap * Math.tanh(value / softcap));
    };
    return {
      y: matrixOf(x.shape[0], 1, (index) => {
        const values = row(index);
        const top = values.reduce((most, value) => Math.max(most, value), -Infinity);
        const sum = values.reduce((total, value) => total + Math.exp(value - top), 0);
        return top + Math.log(sum) - (values[at(targets, 0, index)] ?? NaN);
      }),
    };
  },
});
