import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Angles } from "./rope.ts";

/**
 * What a mixer keeps of each position, (positions, width): attention keys and values, a convolution what it is over. A recurrent one keeps
 * of each block of positions the state behind its last one, and what its convolution was over before that.
 */
export type Kept<T> =
  | { readonly keys: T; readonly values: T }
  | { readonly inputs: T }
  | { readonly states: T; readonly tails: T };

export type LayerCache = Kept<Tensor>;

/** Positions of a block: of a cache's rows, and of those that a recurrent mixer keeps a state of. */
export const BLOCK = 256;

/** Positions that a row of its matrices stands for. */
export function positionsOfRow(kept: Kept<unknown>): number {
  return "states" in kept ? BLOCK : 1;
}

export function matricesOf<T>(kept: Kept<T>): readonly T[] {
  if ("keys" in kept) return [kept.keys, kept.values];
  return "inputs" in kept ? [kept.inputs] : [kept.states, kept.tails];
}

/** The same of something else of each matrix. */
export function mapKept<T, U>(kept: Kept<T>, use: (matrix: T) => U): Kept<U> {
  if ("keys" in kept) return { keys: use(kept.keys), values: use(kept.values) };
  if ("inputs" in kept) return { inputs: use(kept.inputs) };
  return { states: use(kept.states), tails: use(kept.tails) };
}

/** What is kept of the tokens before a pass, with room for those of the pass, which join them. */
export type Filled = LayerCache & {
  /** Rows that are filled. */
  readonly length: number;
  /** Where those of the pass go; undefined: behind what is filled. */
  readonly rows?: TokenRows | undefined;
  /** Where there are `rows`: each token is another sequence's, but those from `first` on are all of one, of which `past` is kept, up to where the next one's begin. */
  readonly pieces?: readonly { readonly first: number; readonly past: Filled }[];
};

/** What is kept of the positions before a pass, by layer. */
export interface Past {
  layer(index: number): Filled;
}

/** Rows of a cache for the tokens of several sequences, (1, tokens) U32: each token's own, and the first of its sequence. */
export interface TokenRows {
  readonly own: Tensor;
  readonly first: Tensor;
}

/** Keys and values of a pass without a past, (tokens, kv heads · size) F32, both. */
export interface PassKeys {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Which positions the tokens of a pass see, and where they stand. */
export interface Sight {
  /** Of each of the model's ropes. */
  readonly tables: readonly Angles[];
  /** Undefined: mixers see the tokens of the pass alone, and nothing of it remains. Attention needs a rope, which fills it. */
  readonly past: Filled | undefined;
  /** The first and the last position of each token, (1, tokens) U32; undefined: the first of all, and its own. */
  readonly first: Tensor | undefined;
  readonly last: Tensor | undefined;
  /** (tokens, columns of all layers): what layers read of each token beside the stream; undefined: nothing. */
  readonly inputs?: Tensor | undefined;
  /** Where nothing is past: keys and values of another layer that this one attends with; see `Attention.keysOf`. */
  readonly shared?: PassKeys | undefined;
  /** Where nothing is past: takes this layer's keys and values, whose memory is then the caller's; undefined: nobody else reads them. */
  readonly share?: ((own: PassKeys) => void) | undefined;
}
