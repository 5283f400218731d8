import { defineOp, requireShapes } from "../op.ts";
import type { Shape } from "../tensor.ts";
import { recordColumnSums } from "../column-sums.ts";
import type { AttentionAttributes } from "./attention-attributes.ts";
import { referenceAttention, referenceAttentionGradients } from "./attention-reference.ts";

export type { AttentionAttributes } from "./attention-attributes.ts";

/** Elements of a head at most. */
export const MOST_HEAD = 512;

/**
 * Attention with grouped queries (Ainslie et al., arXiv:2305.13245): q (tokens, heads·size); keys and values
 * (positions, kv heads·size); kv head j serves heads j·g … j·g + g − 1. With an online softmax, so that no matrix of
 * tokens × positions exists.
 *
 * Each token sees the keys from one to another. `last` (1, tokens) U32 is the last that it sees; left out, its own, at
 * `firstPosition` plus its row: then it is causal. `first` (1, tokens) U32, at most the last: it sees none before; left
 * out, all in the window. So texts may lie one after another, or padded, and be seen in both directions. A token sees
 * at least one key: one that only fills a row may see its own.
 *
 * `sinks` (1, heads): a score of each head beside those of the keys, which has no value (gpt-oss); left out: there is none.
 *
 * `lse` (tokens, heads): log Σ exp(scores), that of the sink among them, for the derivative; only where asked for.
 */
export const attention = defineOp({
  inputs: { q: "needed", keys: "needed", values: "needed", first: "optional", last: "optional", sinks: "optional" },
  outputs: { y: "needed", lse: "optional" },
})<AttentionAttributes>({
  name: "attention",
  shape({ q, keys, values, first, last, sinks }, { headSize, firstPosition, lse }) {
    const kvHeads = keys[1] / headSize;
    const fits =
      headSize % 4 === 0 &&
      headSize <= MOST_HEAD &&
      keys[0] === values[0] &&
      keys[1] === values[1] &&
      Number.isInteger(kvHeads) &&
      Number.isInteger(q[1] / headSize / kvHeads) &&
      keys[0] >= (last === undefined ? firstPosition + q[0] : 1) &&
      [first, last].every((row) => row === undefined || (row[0] === 1 && row[1] === q[0])) &&
      (sinks === undefined || (sinks[0] === 1 && sinks[1] === q[1] / headSize));
    const rule =
      `heads of ${headSize} (a multiple of 4, at most ${MOST_HEAD}), a whole group of them a kv head, ` +
      `${last === undefined ? `keys up to ${firstPosition + q[0]}` : "keys"}, first and last 1×tokens, sinks 1×heads`;
    requireShapes("attention", { q, keys, values, first, last, sinks }, fits, rule);
    return { y: { shape: q }, lse: lse === true ? { shape: [q[0], q[1] / headSize] } : undefined };
  },
  forward(run, { sinks, ...inputs }, attributes, { y, lse: wanted }) {
    const lse = sinks === undefined ? wanted : (wanted ?? run.allocate("attention.lse", sumsOf(inputs.q, attributes)));
    run.compute("attention", { ...inputs, ...attributes, y, lse });
    if (sinks === undefined || lse === undefined) return;
    run.compute("sinks", { sinks, y, lse });
    if (wanted === undefined) run.release(lse);
  },
  reference: referenceAttention,
  derivative: {
    saves: (_, { lse }) => [
      ...(["q", "keys", "values", "first", "last", "sinks"] as const),
      ...(lse === true ? (["y", "lse"] as const) : []),
    ],
    backward(run, { inputs, outputs, gradients, into }, attributes) {
      const { q, keys, sinks } = inputs;
      if (keys.dtype !== "F32") throw new Error(`${keys.buffer.label}: keys in ${keys.dtype} are not differentiated`);
      const [tokens, width] = q.shape;
      if (gradients.y === undefined && gradients.lse === undefined) return;
      // A loss that depends on the sums alone is nobody's; it is right all the same.
      const dy = gradients.y ?? run.upload("attention.zeros", q.shape, new Float32Array(tokens * width));
      let { y, lse } = outputs;
      const again = lse === undefined;
      if (lse === undefined) {
        y = run.allocate("attention.y", q.shape);
        lse = run.allocate("attention.lse", sumsOf(q, attributes));
        run.compute("attention", { ...inputs, ...attributes, y, lse });
        if (sinks !== undefined) run.compute("sinks", { sinks, y, lse });
      }
      // Weights of keys follow from results and sums with the sinks as they do from those without.
      run.compute("attentionGradient", { ...inputs, ...attributes, y, lse, dy, dlse: gradients.lse, into });
      if (sinks !== undefined && into.sinks !== undefined) {
        const parts = run.allocate("attention.sinks", lse.shape);
        run.compute("sinksGradient", { sinks, y, lse, dy, dlse: gradients.lse, parts });
        recordColumnSums(run, { a: parts, y: into.sinks });
        run.release(parts);
      }
      if (again) run.release(y, lse);
      if (gradients.y === undefined) run.release(dy);
    },
    gradient: referenceAttentionGradients,
  },
});

/** The shape of the sums. */
function sumsOf({ shape }: { readonly shape: Shape }, { headSize }: AttentionAttributes): Shape {
  return [shape[0], shape[1] / headSize];
}
