import type { AttentionAttributes, AttentionOperands } from "../../device/families/attention.ts";
import { DTYPE_CODES, type KvDtype } from "../../device/dtype.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { Members, Values } from "../parameters.ts";

/** Members of every kernel of attention and of its gradients: q (tokens, heads · head), keys and values (positions, kv heads · head), y as q. */
export const ATTENDED = {
  tokens: "u32",
  heads: "u32",
  kvHeads: "u32",
  /** Heads that share a kv head. */
  group: "u32",
  /** Elements of a head. */
  head: "u32",
  firstPosition: "u32",
  /** Keys that a token sees at most. */
  window: "u32",
  scale: "f32",
  /** Scores become cap · tanh(score / cap); 0: they do not. */
  cap: "f32",
  q: "matrix",
  keys: "matrix",
  values: "matrix",
  /** First and last keys of tokens; either may be left out. */
  firsts: "row",
  lasts: "row",
  y: "matrix",
  /** log Σ exp(scores) of each head, or nothing. */
  lse: "matrix",
} as const satisfies Members;

/** What keys and values are held in, as kernels are told. */
export const KV_CODES: Readonly<Record<KvDtype, number>> = { ...DTYPE_CODES, Q8_ROWS: DTYPE_CODES.Q8_0 };

/** What attention gives, or gave. */
interface Results {
  readonly y: Tensor;
  readonly lse: Tensor | undefined;
}

export function attended(of: AttentionOperands & AttentionAttributes & Results): Values<typeof ATTENDED> {
  const { q, keys, values, first, last, headSize, firstPosition, scale, window, softcap, y, lse } = of;
  const heads = q.shape[1] / headSize;
  const kvHeads = keys.shape[1] / headSize;
  return {
    tokens: q.shape[0],
    heads,
    kvHeads,
    group: heads / kvHeads,
    head: headSize,
    firstPosition,
    window: Math.min(window, 0x7fffffff),
    scale,
    cap: softcap ?? 0,
    q,
    keys,
    values,
    firsts: first,
    lasts: last,
    y,
    lse,
  };
}
