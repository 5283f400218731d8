import { attentionKernel, attentionSlices, attentionTileRows } from "../../kernels/attention.ts";
import { f32, uniform } from "../../kernels/parameters.ts";
import { at, defineOp, requireShapes, zeros } from "../op.ts";
import { whole } from "../run.ts";

export interface AttentionAttributes {
  /** Elements of a head; a multiple of 4. */
  readonly headSize: number;
  /** Position of the first row of q; the rows of keys and values are positions from 0. */
  readonly firstPosition: number;
  /** What q·k is multiplied by; usually 1/√headSize. */
  readonly scale: number;
  /** Keys that a token sees at most, itself included; Infinity: all before it. */
  readonly window: number;
  /** Scores become cap · tanh(score / cap); undefined: they do not. */
  readonly softcap: number | undefined;
}

/**
 * Causal attention with grouped queries (Ainslie et al., arXiv:2305.13245): q (tokens, heads·size); keys and values
 * (positions, kv heads·size), of which the last token's position and those before are read; kv head j serves heads
 * j·g … j·g + g − 1. With an online softmax, so that no matrix of tokens × positions exists.
 */
export const attention = defineOp({
  inputs: { q: "needed", keys: "needed", values: "needed" },
  outputs: { y: "needed" },
})<AttentionAttributes>({
  name: "attention",
  shape({ q, keys, values }, { headSize, firstPosition }) {
    const kvHeads = keys[1] / headSize;
    const fits =
      headSize % 4 === 0 &&
      keys[1] === values[1] &&
      Number.isInteger(kvHeads) &&
      Number.isInteger(q[1] / headSize / kvHeads) &&
      Math.min(keys[0], values[0]) >= firstPosition + q[0];
    const rule = `heads of ${headSize} (a multiple of 4), a whole group of them a kv head, keys up to ${firstPosition + q[0]}`;
    requireShapes("attention", { q, keys, values }, fits, rule);
    return { y: { shape: q } };
  },
  forward(run, { q, keys, values }, { headSize, firstPosition, scale, window, softcap }, { y }) {
    const kvHeads = keys.shape[1] / headSize;
    const group = q.shape[1] / headSize / kvHeads;
    const pairs = q.shape[0] * group;
    run.dispatch(
      attentionKernel(run.staging, headSize),
      uniform(
        q.shape[0],
        group,
        firstPosition,
        Math.min(window, 0x7fffffff),
        f32(scale),
        f32(softcap ?? 0),
        ...[q, keys, values, y].flatMap(({ offset, pitch }) => [offset / 4, pitch / 4]),
      ),
      [q, keys, values, y].map((tensor) => whole(run, tensor)),
      [Math.ceil(pairs / attentionTileRows(run.staging)), kvHeads, attentionSlices(run.staging, headSize)],
    );
  },
  reference({ q, keys, values }, { headSize, firstPosition, scale, window, softcap }) {
    const [tokens, cols] = q.shape;
    const group = cols / keys.shape[1];
    const y = zeros(tokens, cols);
    for (let token = 0; token < tokens; token++) {
      const last = firstPosition + token;
      const first = Math.max(0, last - window + 1);
      for (let head = 0; head < cols / headSize; head++) {
        const from = Math.floor(head / group) * headSize;
        const scores: number[] = [];
        for (let key = first; key <= last; key++) {
          let dot = 0;
          for (let d = 0; d < headSize; d++) dot += at(q, token, head * headSize + d) * at(keys, key, from + d);
          scores.push(softcap === undefined ? dot * scale : softcap * Math.tanh((dot * scale) / softcap));
        }
        const top = Math.max(...scores);
        const total = scores.reduce((sum, score) => sum + Math.exp(score - top), 0);
        for (let d = 0; d < headSize; d++) {
          let sum = 0;
          scores.forEach((score, n) => (sum += Math.exp(score - top) * at(values, first + n, from + d)));
          y.data[token * cols + head * headSize + d] = sum / total;
        }
      }
    }
    return { y };
  },
});
