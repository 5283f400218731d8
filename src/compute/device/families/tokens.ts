import type { Tensor } from "../tensor.ts";

/** y[t] = table[ids[t]] · scale. Rows of ids that the table has not are left undefined. */
export interface Embedding {
  /** (1, tokens) U32. */
  readonly ids: Tensor;
  /** (vocabulary, cols) in any stored format. */
  readonly table: Tensor;
  readonly scale: number;
  readonly y: Tensor;
}

/** dtable[id] += scale · Σ dy[t] over the positions t of each id that occurs; the other rows are left as they are. */
export interface EmbeddingGradient {
  readonly ids: Tensor;
  readonly dy: Tensor;
  readonly scale: number;
  /** F32. */
  readonly dtable: Tensor;
}

/** y[i] = x[indices[i]], or y[indices[i]] = x[i] where it scatters. All F32. */
export interface Rows {
  readonly scatter: boolean;
  readonly x: Tensor;
  /** (1, count) U32. */
  readonly indices: Tensor;
  readonly y: Tensor;
}

/**
 * y = lse − logits[target] and lse = log Σ exp(logits), where logits = x Wᵀ + bias: a block of the vocabulary at a time, in sums
 * of at most 256 terms.
 */
export interface Nll {
  /** (tokens, hidden) F32. */
  readonly x: Tensor;
  /** (vocabulary, hidden). */
  readonly weight: Tensor;
  /** (1, vocabulary) F32; undefined: there is none. */
  readonly bias: Tensor | undefined;
  /** (1, tokens) U32. */
  readonly targets: Tensor;
  /** Logits become cap · tanh(logit / cap) first; undefined: they do not. */
  readonly softcap: number | undefined;
  /** See `Linear`. */
  readonly rowsAtMost?: number | undefined;
  /** (tokens, 1) F32, both. */
  readonly y: Tensor;
  readonly lse: Tensor;
}

/** The gradients of that; logits are computed again, to the same bits. */
export interface NllGradient extends Omit<Nll, "y"> {
  readonly dy: Tensor | undefined;
  readonly dlse: Tensor | undefined;
  /** ∂loss/∂x, assigned, ∂loss/∂weight, added to, and ∂loss/∂bias, assigned; undefined: not wanted. */
  readonly dx: Tensor | undefined;
  readonly dweight: Tensor | undefined;
  readonly dbias: Tensor | undefined;
}

/** The k largest elements of each row and their columns, largest first; see the op. */
export interface TopK {
  readonly k: number;
  /** F32. */
  readonly x: Tensor;
  /** (rows, k): F32, and U32. */
  readonly values: Tensor;
  readonly ids: Tensor;
}

/** Elements of a row among which `topK` can find as many as asked for. */
export const MOST_TOP_K = 1024;
