import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Angles } from "./rope.ts";

/** What a mixer keeps of each position, (positions, width): attention keys and values, a convolution what it is over. */
export type LayerCache = { readonly keys: Tensor; readonly values: Tensor } | { readonly inputs: Tensor };

/** What is kept of the tokens before a pass, with room for those of the pass, which join them. */
export type Filled = LayerCache & {
  /** Positions that are filled. */
  readonly length: number;
  /** Rows that those of the pass go to, (1, tokens) U32; undefined: the ones behind what is filled. */
  readonly rows?: Tensor | undefined;
};

/** Which positions the tokens of a pass see, and where they stand. */
export interface Sight {
  /** Of each of the model's ropes. */
  readonly tables: readonly Angles[];
  /** Undefined: mixers see the tokens of the pass alone, and nothing of it remains. Attention needs a rope, which fills it. */
  readonly past: Filled | undefined;
  /** The first and the last position of each token, (1, tokens) U32; undefined: the first of all, and its own. */
  readonly first: Tensor | undefined;
  readonly last: Tensor | undefined;
}
