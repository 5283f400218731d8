import { at, defineOp, type Matrix, matrixOf, requireShapes, zeros } from "../op.ts";

/** Experts of a token at most: sums over them are one partial sum. */
export const MOST_CHOSEN = 256;

/**
 * y[t, i] = softmax(logits[t]) at experts[t, i]: over all experts (OLMoE, Qwen3-MoE), or over those chosen for the token
 * (Mixtral, Granite; the others where `norm_topk_prob` is set, which comes to the same). `logistic`: 1 / (1 + exp(−logit)) instead,
 * among those chosen divided by their sum + 1e-6 (LFM2-MoE). logits (tokens, experts) F32; experts (tokens, chosen) U32, different
 * columns, as `topK` finds them.
 */
export const routerWeights = defineOp({
  inputs: { logits: "needed", experts: "needed" },
  outputs: { y: "needed" },
})<{ readonly amongChosen: boolean; readonly logistic?: boolean | undefined }>({
  name: "router-weights",
  shape({ logits, experts }) {
    const fits = logits[0] === experts[0] && experts[1] <= Math.min(logits[1], MOST_CHOSEN);
    requireShapes("router-weights", { logits, experts }, fits, `a token has at most ${MOST_CHOSEN} of the experts`);
    return { y: { shape: experts } };
  },
  forward(run, { logits, experts }, { amongChosen, logistic = false }, { y }) {
    run.compute("routerWeights", { amongChosen, logistic, logits, experts, y });
  },
  reference({ logits, experts }, { amongChosen, logistic = false }) {
    if (logistic) {
      const sums = sumsOf(logits, experts, amongChosen);
      return {
        y: matrixOf(...experts.shape, (row, col) => {
          return logisticOf(at(logits, row, at(experts, row, col))) / (sums[row] ?? NaN);
        }),
      };
    }
    const shares = sharesOf(logits, experts, amongChosen);
    return { y: matrixOf(...experts.shape, (row, col) => at(shares, row, at(experts, row, col))) };
  },
  derivative: {
    saves: () => ["logits", "experts"],
    backward(run, { inputs: { logits, experts }, gradients: { y: dy }, into }, { amongChosen, logistic = false }) {
      if (dy === undefined || into.logits === undefined) return;
      run.compute("routerWeightsGradient", { amongChosen, logistic, logits, experts, dy, dlogits: into.logits });
    },
    gradient({ logits, experts }, { amongChosen, logistic = false }, { y: dy }) {
      if (logistic) return { logits: logisticGradient(logits, experts, amongChosen, dy) };
      const shares = sharesOf(logits, experts, amongChosen);
      const direct = zeros(...logits.shape);
      experts.data.forEach((expert, index) => {
        const row = Math.floor(index / experts.shape[1]);
        direct.data[row * logits.shape[1] + expert] = dy.data[index] ?? NaN;
      });
      const means = Array.from({ length: logits.shape[0] }, (_, row) => {
        let sum = 0;
        for (let col = 0; col < logits.shape[1]; col++) sum += at(shares, row, col) * at(direct, row, col);
        return sum;
      });
      return {
        logits: matrixOf(
          ...logits.shape,
          (row, col) => at(shares, row, col) * (at(direct, row, col) - (means[row] ?? NaN)),
        ),
      };
    },
  },
});

const logisticOf = (x: number) => 1 / (1 + Math.exp(-x));

/** What a token's logistic functions are divided by. */
function sumsOf(logits: Matrix, experts: Matrix, amongChosen: boolean): number[] {
  return Array.from({ length: experts.shape[0] }, (_, row) => {
    let sum = 1e-6;
    for (let col = 0; col < experts.shape[1]; col++) sum += logisticOf(at(logits, row, at(experts, row, col)));
    return amongChosen ? sum : 1;
  });
}

/** y (1 − f) (g − Σ g · y), where f is the logistic function and the sum counts among those chosen alone. */
function logisticGradient(logits: Matrix, experts: Matrix, amongChosen: boolean, dy: Matrix): Matrix {
  const sums = sumsOf(logits, experts, amongChosen);
  const result = zeros(...logits.shape);
  sums.forEach((divisor, row) => {
    const chosen = Array.from({ length: experts.shape[1] }, (_, col) => at(experts, row, col));
    const values = chosen.map((expert) => logisticOf(at(logits, row, expert)));
    let mean = 0;
    if (amongChosen) values.forEach((value, col) => (mean += (at(dy, row, col) * value) / divisor));
    chosen.forEach((expert, col) => {
      const value = values[col] ?? NaN;
      result.data[row * logits.shape[1] + expert] = (value / divisor) * (1 - value) * (at(dy, row, col) - mean);
    });
  });
  return result;
}

/** The softmax of each row of logits; those that do not count have none of it. */
function sharesOf(logits: Matrix, experts: Matrix, amongChosen: boolean): Matrix {
  const powers = zeros(...logits.shape);
  const sums = Array.from({ length: logits.shape[0] }, (_, row) => {
    const all = Array.from({ length: logits.shape[1] }, (__, col) => col);
    const chosen = Array.from({ length: experts.shape[1] }, (__, index) => at(experts, row, index));
    const counting = amongChosen ? chosen : all;
    const most = Math.max(...counting.map((col) => at(logits, row, col)));
    let sum = 0;
    for (const col of counting) {
      const power = Math.exp(at(logits, row, col) - most);
      powers.data[row * logits.shape[1] + col] = power;
      sum += power;
    }
    return sum;
  });
  return matrixOf(...logits.shape, (row, col) => at(powers, row, col) / (sums[row] ?? NaN));
}
