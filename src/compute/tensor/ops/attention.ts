import { defineOp, requireShapes } from "../op.ts";
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
 * `lse` (tokens, heads): log Σ exp(scores), for the derivative; only where asked for.
 */
export const attention = defineOp({
  inputs: { q: "needed", keys: "needed", values: "needed", first: "optional", last: "optional" },
  outputs: { y: "needed", lse: "optional" },
})<AttentionAttributes>({
  name: "attention",
  shape({ q, keys, values, first, last }, { headSize, firstPosition, lse }) {
    const kvHeads = keys[1] / headSize;
    const fits =
      headSize % 4 === 0 &&
      headSize <= MOST_HEAD &&
      keys[0] === values[0] &&
      keys[1] === values[1] &&
      Number.isInteger(kvHeads) &&
      Number.isInteger(q[1] / headSize / kvHeads) &&
      keys[0] >= (last === undefined ? firstPosition + q[0] : 1) &&
      [first, last].every((row) => row === undefined || (row[0] === 1 && row[1] === q[0]));
    const rule =
      `heads of ${headSize} (a multiple of 4, at most ${MOST_HEAD}), a whole group of them a kv head, ` +
      `${last === undefined ? `keys up to ${firstPosition + q[0]}` : "keys"}, first and last 1×tokens`;
    requireShapes("attention", { q, keys, values, first, last }, fits, rule);
    return { y: { shape: q }, lse: lse === true ? { shape: [q[0], q[1] / headSize] } : undefined };
  },
  forward(run, inputs, attributes, { y, lse }) {
    run.compute("attention", { ...inputs, ...attributes, y, lse });
  },
  reference: referenceAttention,
  derivative: {
    saves: (_, { lse }) => [
      ...(["q", "keys", "values", "first", "last"] as const),
      ...(lse === true ? (["y", "lse"] as const) : []),
    ],
    backward(run, { inputs, outputs, gradients, into }, attributes) {
      const { q, keys } = inputs;
      if (keys.dtype !== "F32") throw new Error(`${keys.buffer.label}: keys in ${keys.dtype} are not differentiated`);
      const [tokens, width] = q.shape;
      if (gradients.y === undefined && gradients.lse === undefined) return;
      // A loss that depends on the sums alone is nobody's; it is right all the same.
      const dy = gradients.y ?? run.upload("attention.zeros", q.shape, new Float32Array(tokens * width));
      let { y, lse } = outputs;
      const again = lse === undefined;
      if (lse === undefined) {
        y = run.allocate("attention.y", q.shape);
        lse = run.allocate("attention.lse", [tokens, width / attributes.headSize]);
        run.compute("attention", { ...inputs, ...attributes, y, lse });
      }
      run.compute("attentionGradient", { ...inputs, ...attributes, y, lse, dy, dlse: gradients.lse, into });
      if (again) run.release(y, lse);
      if (gradients.y === undefined) run.release(dy);
    },
    gradient: referenceAttentionGradients,
  },
});
