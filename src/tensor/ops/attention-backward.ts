import {
  ATTENTION_STATS_KERNEL,
  ATTENTION_STATS_TOKENS,
  attentionBackwardColumns,
  attentionBackwardKernel,
  attentionBackwardParameters,
  type AttentionPass,
  attentionStatsParameters,
} from "../../kernels/attention-backward.ts";
import { type Run } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import type { AttentionAttributes } from "./attention-attributes.ts";
import { place, whole } from "../row-blocks.ts";

/** What the gradients of attention are made of. */
export interface AttentionBackward {
  readonly q: Tensor;
  readonly keys: Tensor;
  readonly values: Tensor;
  readonly first: Tensor | undefined;
  readonly last: Tensor | undefined;
  readonly y: Tensor;
  readonly lse: Tensor;
  /** ∂loss/∂y, and ∂loss/∂lse where the loss depends on it. */
  readonly dy: Tensor;
  readonly dlse: Tensor | undefined;
  /** Where ∂loss/∂q, ∂loss/∂keys and ∂loss/∂values go; undefined: nowhere. */
  readonly into: {
    readonly q?: Tensor | undefined;
    readonly keys?: Tensor | undefined;
    readonly values?: Tensor | undefined;
  };
}

/**
 * Records the gradients of attention: one kernel whose workgroups own queries and go over the keys, and one whose
 * workgroups own keys and go over the queries of all heads of the group. Scores are computed again in both.
 */
export function recordAttentionBackward(run: Run, operands: AttentionBackward, attributes: AttentionAttributes): void {
  const { q, keys, values, last, dy, into } = operands;
  const heads = q.shape[1] / attributes.headSize;
  const kvHeads = keys.shape[1] / attributes.headSize;
  const group = heads / kvHeads;
  const stats = recordStats(run, operands, attributes, heads);
  const columns = attentionBackwardColumns(run.staging);
  const record = (
    pass: AttentionPass,
    tensors: readonly [Tensor, Tensor, Tensor, Tensor],
    results: readonly Tensor[],
    count: number,
  ) =>
    run.dispatch(
      attentionBackwardKernel(run.staging, pass, attributes.softcap !== undefined),
      attentionBackwardParameters({
        tokens: q.shape[0],
        positions: keys.shape[0],
        group,
        head: attributes.headSize / 4,
        causal: last === undefined,
        firstPosition: attributes.firstPosition,
        scale: attributes.scale,
        cap: attributes.softcap ?? 0,
        cols0: place(tensors[0]),
        cols1: place(tensors[1]),
        rows0: place(tensors[2]),
        rows1: place(tensors[3]),
        out0: place(results[0]),
        out1: place(results[1]),
      }),
      [...tensors, stats, ...results].map((tensor) => whole(run, tensor)),
      [Math.ceil(count / columns), kvHeads],
    );
  if (into.q !== undefined) record("queries", [q, dy, keys, values], [into.q], q.shape[0] * group);
  // Kernels write to buffers of their own: what nobody asks for goes to one, and views of one buffer take two passes.
  const apart = into.keys === undefined || into.keys.buffer !== into.values?.buffer;
  for (const [dKeys, dValues] of apart ? [[into.keys, into.values]] : [[into.keys], [undefined, into.values]]) {
    if (dKeys === undefined && dValues === undefined) continue;
    const results = [
      dKeys ?? run.allocate("attention.unused", keys.shape),
      dValues ?? run.allocate("attention.unused", keys.shape),
    ];
    record("keys", [keys, values, q, dy], results, keys.shape[0]);
    run.release(...results.filter((result) => result !== dKeys && result !== dValues));
  }
  run.release(stats);
}

/** What the kernels read of each token and head, (heads · tokens, 4). */
function recordStats(run: Run, operands: AttentionBackward, attributes: AttentionAttributes, heads: number): Tensor {
  const { y, dy, lse, dlse, first, last } = operands;
  const [tokens] = y.shape;
  const stats = run.allocate("attention.stats", [heads * tokens, 4]);
  run.dispatch(
    ATTENTION_STATS_KERNEL,
    attentionStatsParameters({
      tokens,
      heads,
      head: attributes.headSize / 4,
      firstPosition: attributes.firstPosition,
      window: Math.min(attributes.window, 0x7fffffff),
      flags: Number(first !== undefined) + 2 * Number(last !== undefined) + 4 * Number(dlse !== undefined),
      y: place(y),
      dy: place(dy),
      sums: [lse.offset, lse.pitch],
      dsums: [dlse?.offset ?? 0, dlse?.pitch ?? 0],
      firstsAt: first?.offset ?? 0,
      lastsAt: last?.offset ?? 0,
    }),
    [y, dy, lse, dlse ?? lse, first ?? lse, last ?? lse, stats].map((tensor) => whole(run, tensor)),
    [Math.ceil(tokens / ATTENTION_STATS_TOKENS), heads],
  );
  return stats;
}
