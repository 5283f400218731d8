import { OPS } from "../../tensor/ops/index.ts";
import type { Recorder } from "../../tensor/recorder.ts";
import { sliceCols, sliceRows, type Tensor } from "../../tensor/tensor.ts";
import type { Linears } from "../linears.ts";
import { type Norm, recordNorm } from "./norm.ts";
import { type Output, recordOutput } from "./output.ts";
import type { Angles } from "./rope.ts";

/** Sizes of attention, and how its scores are made; see OPS.attention. */
export interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly scale: number;
  readonly softcap: number | undefined;
  readonly window: number;
}

/** An attention block's weights. */
export interface AttentionWeights {
  /** Queries, keys and values, one matrix below the other: ((heads + 2 · kv heads) · head size, width of x). */
  readonly qkv: Tensor;
  readonly qkvBias: Tensor | undefined;
  /** Of each head of q and k; undefined: none. */
  readonly queryNorm: Norm | undefined;
  readonly keyNorm: Norm | undefined;
  readonly output: Output;
}

/** Keys and values of the tokens before a pass; those of the pass join them. */
export interface Filled {
  /** Positions that are filled. */
  readonly length: number;
  /** Rows that those of the pass go to, (1, tokens) U32; undefined: the ones behind what is filled. */
  readonly rows?: Tensor | undefined;
  /** (positions, kv heads · head size), with room for those of the pass. */
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Which keys the tokens of a pass see, and where they stand. */
export interface Sight {
  /** Turns queries and keys; undefined: nothing does. */
  readonly rope: Angles | undefined;
  /** Undefined: attention sees the tokens of the pass alone, and nothing of it remains. Needs a rope, which fills it. */
  readonly past: Filled | undefined;
  /** The first and the last key of each token, (1, tokens) U32; undefined: the first of all, and its own. */
  readonly first: Tensor | undefined;
  readonly last: Tensor | undefined;
}

/** Records residual + attention(x), of x (tokens, width), which is released; the residual is not. */
export function recordAttention(
  recorder: Recorder,
  linears: Linears,
  { heads, kvHeads, headSize, ...scores }: Heads,
  weights: AttentionWeights,
  { rope, past, first, last }: Sight,
  x: Tensor,
  residual: Tensor,
): Tensor {
  if (past !== undefined && rope === undefined) throw new TypeError("keys that nothing turns cannot join a cache");
  const [width, kvWidth] = [heads * headSize, kvHeads * headSize];
  const qkv = linears.apply(recorder, { x, weight: weights.qkv, bias: weights.qkvBias, residual: undefined });
  recorder.release(x);
  let q = sliceCols(qkv, 0, width);
  let k = sliceCols(qkv, width, kvWidth);
  let v = sliceCols(qkv, width + kvWidth, kvWidth);
  let held = [qkv];
  if (weights.queryNorm !== undefined) held.push((q = recordNorm(recorder, weights.queryNorm, q)));
  if (weights.keyNorm !== undefined) held.push((k = recordNorm(recorder, weights.keyNorm, k)));
  if (rope !== undefined) {
    const behind = ({ keys, values, length }: Filled) => ({
      k: sliceRows(keys, length, x.shape[0]),
      v: sliceRows(values, length, x.shape[0]),
    });
    const into = past === undefined || past.rows !== undefined ? {} : behind(past);
    const turned = recorder.apply(OPS.rope, { q, k, v, ...rope }, { headSize }, into);
    recorder.release(...held);
    ({ q, k, v } = turned);
    held = past === undefined || past.rows !== undefined ? [q, k, v] : [q];
  }
  if (past?.rows !== undefined) {
    const { run } = recorder;
    run.compute("rows", { scatter: true, x: k, indices: past.rows, y: past.keys });
    run.compute("rows", { scatter: true, x: v, indices: past.rows, y: past.values });
  }
  const attributes = {
    headSize,
    firstPosition: past?.length ?? 0,
    ...scores,
    lse: past === undefined, // a pass without a cache is one that may be differentiated
  };
  const { keys, values } = past ?? { keys: k, values: v };
  const { y: mixed, lse } = recorder.apply(OPS.attention, { q, keys, values, first, last }, attributes);
  recorder.release(...held, ...(lse === undefined ? [] : [lse]));
  return recordOutput(recorder, linears, weights.output, mixed, residual);
}
