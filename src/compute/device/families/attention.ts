import type { Tensor } from "../tensor.ts";
import type { NormNumbers } from "./products.ts";

/** How scores are formed, and which keys a token sees. */
export interface AttentionAttributes {
  /** Elements of a head; a multiple of 4, at most 512. */
  readonly headSize: number;
  /** Position of the first row of q, where `last` is left out; the rows of keys and values are positions from 0. */
  readonly firstPosition: number;
  /** What q·k is multiplied by; usually 1/√headSize. */
  readonly scale: number;
  /** Keys that a token sees at most, its last included; Infinity: all before that one. */
  readonly window: number;
  /** Scores become cap · tanh(score / cap); undefined: they do not. */
  readonly softcap: number | undefined;
  /** With a first and a last key for each token: of 256 keys, from the first one on in whole blocks, one token sees some at most. */
  readonly apart?: boolean | undefined;
}

/** What attention reads; see the op. */
export interface AttentionOperands {
  /** (tokens, heads · size) F32. */
  readonly q: Tensor;
  /** (positions, kv heads · size) F32, both; what is not differentiated may see F16, or Q8_ROWS where blocks fill heads. */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** (1, tokens) U32: the first and the last key that each token sees. */
  readonly first: Tensor | undefined;
  readonly last: Tensor | undefined;
}

/**
 * Attention with grouped queries and an online softmax. With a first and a last key for each token, those that a token does
 * not see decide about nothing of it, not even where they are no numbers; nor do the other tokens.
 */
export interface Attention extends AttentionOperands, AttentionAttributes {
  /** Of the shape of q. */
  readonly y: Tensor;
  /** (tokens, heads): log Σ exp(scores); undefined: not wanted. */
  readonly lse: Tensor | undefined;
}

/** The gradients of attention, from what it gave. */
export interface AttentionGradient extends AttentionOperands, AttentionAttributes {
  readonly y: Tensor;
  readonly lse: Tensor;
  /** ∂loss/∂y, and ∂loss/∂lse where the loss depends on it. */
  readonly dy: Tensor;
  readonly dlse: Tensor | undefined;
  /** Where ∂loss/∂q, ∂loss/∂keys and ∂loss/∂values go, assigned; undefined: nowhere. */
  readonly into: {
    readonly q?: Tensor | undefined;
    readonly keys?: Tensor | undefined;
    readonly values?: Tensor | undefined;
  };
}

/**
 * What attention gave without sinks, in place with one for each head: a score that has no value, and takes its share of the softmax.
 * y becomes y · exp(lse − lse′), where lse′ = log(exp(lse) + exp(sink)) takes the place of lse.
 */
export interface Sinks {
  /** (1, heads) F32. */
  readonly sinks: Tensor;
  readonly y: Tensor;
  readonly lse: Tensor;
}

/** What each token adds to ∂loss/∂sink, from results and sums with the sinks: exp(sink − lse) · (dlse − dy · y). */
export interface SinksGradient extends Sinks {
  readonly dy: Tensor;
  readonly dlse: Tensor | undefined;
  /** (tokens, heads), assigned. */
  readonly parts: Tensor;
}

/** Rotary position embedding of q and k, and a copy of v, or of q alone; see the op. All F32. */
export interface Rope {
  /** A multiple of 4. */
  readonly headSize: number;
  /** Elements turn with their neighbors, 2i with 2i + 1, instead of i with i + half. */
  readonly neighbors: boolean;
  /** (tokens, half of what is rotated of a head). */
  readonly cos: Tensor;
  readonly sin: Tensor;
  readonly from: RopeTensors;
  readonly to: RopeTensors;
}

interface RopeTensors {
  readonly q: Tensor;
  readonly k: Tensor | undefined;
  readonly v: Tensor | undefined;
}

/** The gradients of those operands that are wanted, assigned. */
export interface RopeGradient extends Pick<Rope, "headSize" | "neighbors" | "cos" | "sin"> {
  readonly parts: readonly {
    readonly name: "q" | "k" | "v";
    /** ∂loss/∂output. */
    readonly gradient: Tensor;
    readonly target: Tensor;
  }[];
}

/**
 * What the tokens of a pass do with their projections before attention: heads of q and k are normalized, where there are norms,
 * and turn as in `Rope`, q where it lies, k into rows of a cache, to which v is copied. All F32 but `rows` and the cache, which may
 * be F16: k and v are then rounded to the nearest, ties to even; or Q8_ROWS: rounded as blocks.ts rounds to Q8_0.
 */
export interface CacheFilling extends Pick<Rope, "headSize" | "neighbors" | "cos" | "sin"> {
  /** (tokens, (heads + 2 · kv heads) · size): q, k and v side by side. */
  readonly qkv: Tensor;
  /** (positions, kv heads · size), both. */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** (1, tokens) U32: the rows of keys and values that those of the tokens go to, none twice; undefined: from the first on. */
  readonly rows: Tensor | undefined;
  /** Weights (1, size) of the norms of each head of q and of k; see the row kernel `rmsNorm`. Undefined: there are none. */
  readonly norms: (NormNumbers & { readonly q: Tensor; readonly k: Tensor }) | undefined;
}
