import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Angles } from "./rope.ts";

/**
 * What a mixer keeps of each position, (positions, width): attention keys and values, a convolution what it is over. A recurrent one keeps
 * of each block of positions the state behind its last one, and what its convolution was over before that.
 */
export type LayerCache =
  | { readonly keys: Tensor; readonly values: Tensor }
  | { readonly inputs: Tensor }
  | { readonly states: Tensor; readonly tails: Tensor };

/** Positions of a block: of a cache's rows, and of those that a recurrent mixer keeps a state of. */
export const BLOCK = 256;

/** What is kept of the tokens before a pass, with room for those of the pass, which join them. */
export type Filled = LayerCache & {
  /** Rows that are filled. */
  readonly length: number;
  /** Where those of the pass go; undefined: behind what is filled. */
  readonly rows?: TokenRows | undefined;
  /** Where there are `rows`: each token is another sequence's, but those from `first` on are all of one, of which `past` is kept, up to where the next one's begin. */
  readonly pieces?: readonly { readonly first: number; readonly past: Filled }[];
};

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
