import { recordCopy } from "../../compute/tensor/elementwise.ts";
import { recordFilling } from "../../compute/tensor/fill-cache.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import { sliceCols, sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import { paddedHead, recordHeads } from "./columns.ts";
import type { Linears } from "./linears.ts";
import { type Norm, recordNorm, type RmsNorm } from "./norm.ts";
import { type Begun, type Output, recordBegin, type Stream } from "./stream.ts";
import type { Sight } from "./sight.ts";

/** Sizes of attention, and how its scores are made; see OPS.attention. */
export interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly scale: number;
  readonly softcap: number | undefined;
  readonly window: number;
}

/** Attention: the matrices of its projections, and how heads are made of them. */
export interface Attention<W = Tensor> extends Heads {
  readonly kind: "attention";
  /** Which of the model's ropes turns queries and keys; undefined: none. */
  readonly rope: number | undefined;
  /** Elements turn with their neighbors (GLM-4, Cohere 2), instead of with one half a head away. */
  readonly neighbors: boolean;
  /** The number of the layer before it whose keys and values it attends with: `qkv` is of queries alone (Gemma 4). */
  readonly keysOf?: number | undefined;
  /** Queries, keys and values, one matrix below the other: ((heads + 2 · kv heads) · head size, width of x). */
  readonly qkv: W;
  readonly qkvBias: W | undefined;
  /**
   * Of q and k, both with one ε and offset; undefined: none. Of each head where their weights have its size (Qwen 3), else of all
   * heads of a token together (OLMo 2).
   */
  readonly queryNorm: RmsNorm<W> | undefined;
  readonly keyNorm: RmsNorm<W> | undefined;
  /** Of each head of v; undefined: none. */
  readonly valueNorm?: RmsNorm<W> | undefined;
  /** Values are what keys are before their norm and rope: `qkv` has none of their own (Gemma 4). */
  readonly valuesAreKeys?: boolean;
  /** Each head of q is followed by one of a gate, whose logistic function multiplies the head's result (Qwen3-Next). */
  readonly gated?: boolean;
  /** Queries, keys and values of each head follow one another, of as many heads each (GPT-NeoX). */
  readonly interleaved?: boolean;
  /** A score of each head that has no value, (1, heads); undefined: there are none (see OPS.attention). */
  readonly sinks?: W | undefined;
  readonly output: Output<W>;
}

/** Records attention over norm(stream), up to what goes into its last matrix; the stream's tensors are not released. */
export function recordAttention(
  recorder: Recorder,
  linears: Linears,
  norm: Norm | undefined,
  given: Attention,
  sight: Sight,
  stream: Stream,
): Begun {
  const attention = overPadding(given);
  const { past, first, last } = sight;
  const { kvHeads, scale, softcap, window } = attention;
  const headSize = paddedHead(attention.headSize);
  const { x, y: begun } = recordBegin(
    recorder,
    linears,
    norm,
    { weight: attention.qkv, bias: attention.qkvBias },
    stream,
  );
  const projected = recordHeads(recorder, begun, attention.headSize, "added");
  const [width, kvWidth] = [attention.heads * headSize, kvHeads * headSize];
  const isMixed = attention.gated === true || attention.interleaved === true;
  const all = isMixed ? recordSorted(recorder, attention, projected) : projected;
  const qkv = attention.gated === true ? sliceCols(all, 0, width + 2 * kvWidth) : all;
  const { q, keys, values, held } =
    attention.keysOf === undefined
      ? recordTurned(recorder, attention, sight, {
          q: sliceCols(qkv, 0, width),
          k: sliceCols(qkv, width, kvWidth),
          v: sliceCols(qkv, attention.valuesAreKeys === true ? width : width + kvWidth, kvWidth),
          qkv,
        })
      : recordQueries(recorder, attention, sight, qkv);
  const attributes = {
    headSize,
    firstPosition: past?.length ?? 0,
    scale,
    softcap,
    window,
    apart: past?.rows !== undefined && (past.pieces ?? []).length === 0, // sequences begin at whole blocks
    lse: past === undefined, // a pass without a cache is one that may be differentiated
  };
  const growth = attention.rope === undefined ? undefined : sight.tables[attention.rope]?.growth;
  const grown = growth && recorder.apply(OPS.mixRows, { x: q, ...growth, residual: undefined }, { scale: 1 }).y;
  const operands = { q: grown ?? q, keys, values, first, last, sinks: attention.sinks };
  const { y, lse } = recorder.apply(OPS.attention, operands, attributes);
  const used = [...held, ...[grown, lse].filter((tensor) => tensor !== undefined)];
  if (attention.gated !== true) {
    recorder.release(...used);
    return { x, y: recordHeads(recorder, y, attention.headSize, "removed") };
  }
  const gate = sliceCols(all, width + 2 * kvWidth, width);
  const { y: result } = recorder.apply(OPS.gatedActivation, { gate, up: y }, { kind: "sigmoid" });
  recorder.release(y, ...new Set([...used, qkv]));
  return { x, y: recordHeads(recorder, result, attention.headSize, "removed") };
}

/**
 * The same attention of heads with zeros behind them. A norm's mean is over these too, so that q and k become √(padded / size) times what
 * they are: scores are scaled back.
 */
function overPadding(attention: Attention): Attention {
  const { headSize, queryNorm, keyNorm, scale } = attention;
  const padded = paddedHead(headSize);
  if (padded === headSize || queryNorm === undefined || keyNorm === undefined) return attention;
  const share = headSize / padded;
  const widened = ({ weight, epsilon, ...norm }: RmsNorm): RmsNorm => {
    return { ...norm, weight: { ...weight, shape: [1, padded] }, epsilon: epsilon * share };
  };
  return { ...attention, queryNorm: widened(queryNorm), keyNorm: widened(keyNorm), scale: scale * share };
}

/**
 * Records queries, keys, values and gates, one behind the other, of heads of queries each with its gate, or with its key and value; what
 * was projected is released.
 */
function recordSorted(recorder: Recorder, { heads, ...attention }: Attention, x: Tensor): Tensor {
  const headSize = paddedHead(attention.headSize);
  const sizes = attention.gated === true ? [headSize, headSize] : [headSize, headSize, headSize];
  const { y } = recorder.apply(OPS.regroup, { x }, { groups: heads, sizes });
  recorder.release(x);
  return y;
}

/** Views of what a pass projected its tokens to, and what they are views of. */
type Projected = Readonly<Record<"q" | "k" | "v" | "qkv", Tensor>>;

/** What attention reads, and what of it is to be released. */
interface Turned {
  readonly q: Tensor;
  readonly keys: Tensor;
  readonly values: Tensor;
  readonly held: readonly Tensor[];
}

/** Heads normalized and turned; keys and values join what is past. */
function recordTurned(
  recorder: Recorder,
  attention: Attention,
  { tables, past, share }: Sight,
  { q, k, v, qkv }: Projected,
): Turned {
  const { neighbors, queryNorm, keyNorm, valueNorm } = attention;
  const headSize = paddedHead(attention.headSize);
  const rope = attention.rope === undefined ? undefined : tables[attention.rope];
  if (past !== undefined) {
    if (rope === undefined || !("keys" in past)) throw new TypeError("keys that nothing turns cannot join a cache");
    const { keys, values, rows } = past;
    const behind = (matrix: Tensor) => sliceRows(matrix, past.length, q.shape[0]);
    const to = rows === undefined ? { keys: behind(keys), values: behind(values) } : { keys, values };
    const isOfHeads =
      valueNorm === undefined && queryNorm?.weight.shape[1] === headSize && keyNorm?.weight.shape[1] === headSize;
    const projected = isOfHeads ? { q, qkv } : recordNormedRows(recorder, attention, { q, k, v, qkv });
    const norms = isOfHeads ? { ...queryNorm, q: queryNorm.weight, k: keyNorm.weight } : undefined;
    const { cos, sin } = rope;
    recordFilling(recorder.run, { headSize, neighbors, cos, sin, qkv: projected.qkv, ...to, norms, rows: rows?.own });
    return { q: projected.q, keys, values, held: [projected.qkv] };
  }
  // A gate among it is still to be read.
  const held = attention.gated === true ? [] : [qkv];
  const normed = (norm: RmsNorm | undefined, x: Tensor): Tensor => {
    if (norm === undefined) return x;
    const y = recordNorm(recorder, norm, x);
    held.push(y);
    return y;
  };
  const [query, key, value] = [normed(queryNorm, q), normed(keyNorm, k), normed(valueNorm, v)];
  if (rope === undefined) {
    if (share !== undefined) throw new TypeError("keys that nothing turns are views, which no other layer can have");
    return { q: query, keys: key, values: value, held };
  }
  const { cos, sin } = rope;
  const turned = recorder.apply(OPS.rope, { q: query, k: key, v: value, cos, sin }, { headSize, neighbors });
  recorder.release(...held);
  if (turned.k === undefined || turned.v === undefined) throw new TypeError("no keys");
  const own = { keys: turned.k, values: turned.v };
  share?.(own);
  return { q: turned.q, ...own, held: share === undefined ? [turned.q, own.keys, own.values] : [turned.q] };
}

/** Queries alone, normalized and turned, beside keys and values of another layer; what was projected is released. */
function recordQueries(
  recorder: Recorder,
  { headSize: size, neighbors, queryNorm, rope }: Attention,
  { tables, past, shared }: Sight,
  projected: Tensor,
): Turned {
  const headSize = paddedHead(size);
  const seen = past ?? shared;
  const angles = rope === undefined ? undefined : tables[rope];
  if (seen === undefined || !("keys" in seen) || angles === undefined) throw new TypeError("no keys of another layer");
  const x = queryNorm === undefined ? projected : recordNorm(recorder, queryNorm, projected);
  const { cos, sin } = angles;
  const { q } = recorder.apply(OPS.rope, { q: x, k: undefined, v: undefined, cos, sin }, { headSize, neighbors });
  recorder.release(...new Set([projected, x]));
  return { q, keys: seen.keys, values: seen.values, held: [q] };
}

/** Queries, keys and values side by side, normalized where they have a norm; what was projected is released. */
function recordNormedRows(
  recorder: Recorder,
  { queryNorm, keyNorm, valueNorm }: Attention,
  { q, k, v, qkv }: Projected,
): Pick<Projected, "q" | "qkv"> {
  if (queryNorm === undefined || keyNorm === undefined) return { q, qkv };
  const [width, kvWidth] = [q.shape[1], k.shape[1]];
  const all = recorder.allocate("normalized q, k, v", [qkv.shape[0], width + 2 * kvWidth]);
  const query = sliceCols(all, 0, width);
  recordNorm(recorder, queryNorm, q, query);
  recordNorm(recorder, keyNorm, k, sliceCols(all, width, kvWidth));
  const value = sliceCols(all, width + kvWidth, kvWidth);
  if (valueNorm === undefined) recordCopy(recorder.run, v, value);
  else recordNorm(recorder, valueNorm, v, value);
  recorder.release(qkv);
  return { q: query, qkv: all };
}
