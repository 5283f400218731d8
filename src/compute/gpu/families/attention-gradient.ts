import type { AttentionGradient } from "../../device/families/attention.ts";
import type { Tensor } from "../../device/tensor.ts";
import {
  ATTENTION_BACKWARD_COLUMNS,
  ATTENTION_STATS_KERNEL,
  ATTENTION_STATS_TOKENS,
  attentionBackwardKernel,
  type AttentionPass,
} from "../kernels/attention-backward.ts";
import type { Dispatcher } from "../context.ts";
import { rowsOfWork } from "../work.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";

/**
 * One kernel whose workgroups own queries and go over the keys, and one whose workgroups own keys and go over the
 * queries of all heads of the group. Scores are computed again in both. Too much work at once is taken in tiles of columns.
 */
export function attentionGradient(on: Dispatcher, operands: AttentionGradient): void {
  const { q, keys, values, last, dy, into, headSize, firstPosition, scale, softcap } = operands;
  const heads = q.shape[1] / headSize;
  const kvHeads = keys.shape[1] / headSize;
  const group = heads / kvHeads;
  const stats = recordStats(on, operands, heads);
  const record = (
    pass: AttentionPass,
    tensors: readonly [Tensor, Tensor, Tensor, Tensor],
    results: readonly Tensor[],
    count: number,
  ) => {
    const tiles = Math.ceil(count / ATTENTION_BACKWARD_COLUMNS);
    const workPerTile = (8 * q.shape[0] * q.shape[1] * keys.shape[0]) / tiles;
    const step = rowsOfWork(workPerTile, 1);
    for (let firstTile = 0; firstTile < tiles; firstTile += step) {
      const some = Math.min(step, tiles - firstTile);
      on.dispatch(
        attentionBackwardKernel(pass, softcap !== undefined),
        {
          tokens: q.shape[0],
          positions: keys.shape[0],
          group,
          head: headSize,
          causal: last === undefined,
          firstPosition,
          scale,
          cap: softcap ?? 0,
          cols0: tensors[0],
          cols1: tensors[1],
          rows0: tensors[2],
          rows1: tensors[3],
          out0: results[0],
          out1: results[1],
          firstTile,
        },
        [...tensors, stats, ...results],
        [some, kvHeads],
        some * workPerTile,
      );
    }
  };
  if (into.q !== undefined) record("queries", [q, dy, keys, values], [into.q], q.shape[0] * group);
  // Kernels write to buffers of their own: what nobody asks for goes to one, and views of one buffer take two passes.
  const apart = into.keys === undefined || into.keys.buffer !== into.values?.buffer;
  for (const [dKeys, dValues] of apart ? [[into.keys, into.values]] : [[into.keys], [undefined, into.values]]) {
    if (dKeys === undefined && dValues === undefined) continue;
    const results = [
      dKeys ?? takeScratch(on, "attention.unused", keys.shape),
      dValues ?? takeScratch(on, "attention.unused", keys.shape),
    ];
    record("keys", [keys, values, q, dy], results, keys.shape[0]);
    giveScratch(on, ...results.filter((result) => result !== dKeys && result !== dValues));
  }
  giveScratch(on, stats);
}

/** What the kernels read of each token and head, (heads · tokens, 4). */
function recordStats(on: Dispatcher, operands: AttentionGradient, heads: number): Tensor {
  const { y, dy, lse, dlse, first, last, headSize, firstPosition, window } = operands;
  const [tokens] = y.shape;
  const stats = takeScratch(on, "attention.stats", [heads * tokens, 4]);
  on.dispatch(
    ATTENTION_STATS_KERNEL,
    {
      tokens,
      heads,
      head: headSize,
      firstPosition,
      window: Math.min(window, 0x7fffffff),
      flags: Number(first !== undefined) + 2 * Number(last !== undefined) + 4 * Number(dlse !== undefined),
      y,
      dy,
      sums: lse,
      dsums: dlse,
      firstsAt: first?.offset ?? 0,
      lastsAt: last?.offset ?? 0,
    },
    [y, dy, lse, dlse ?? lse, first ?? lse, last ?? lse, stats],
    [Math.ceil(tokens / ATTENTION_STATS_TOKENS), heads],
    2 * tokens * heads * headSize,
  );
  return stats;
}
