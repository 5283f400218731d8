import type { Tensor } from "../tensor.ts";

/** What both directions of a gated delta rule read; see the op. All F32 but `first`. */
interface GatedDeltaOperands {
  /** (tokens, 2 · key heads · key size): queries, and keys behind them. */
  readonly qk: Tensor;
  /** (tokens, heads · value size). */
  readonly v: Tensor;
  /** (tokens, 2 · heads): what β is made of, and what decays are made of behind it. */
  readonly gates: Tensor;
  /** (1, 2 · heads): log A, and the bias of decays behind it. */
  readonly decays: Tensor;
  /** (1, tokens) U32: the row that each token's text begins at; undefined: the first of all. */
  readonly first: Tensor | undefined;
  readonly keyHeads: number;
  /** Rows of a text behind which its state is kept: a row of `states` each. */
  readonly block: number;
}

/**
 * The rule over tokens one after another. A text's state is zero before its first row. It goes on from the row of `states` that belongs
 * to the row before the pass, and is written where a block ends, and behind the last token: to the row that belongs to it.
 */
export interface GatedDelta extends GatedDeltaOperands {
  /** (1, tokens) U32: the row of each token, all of different texts; undefined: `firstPosition`, and those behind it. */
  readonly rows: Tensor | undefined;
  readonly firstPosition: number;
  /** (blocks, heads · value size · key size); undefined: all begins with the pass, and nothing of it remains. */
  readonly states: Tensor | undefined;
  /** Of the shape of v. */
  readonly y: Tensor;
}

/** The gradients where tokens are rows, from the first on, and `states` are what the pass forwards has left of them. */
export interface GatedDeltaGradient extends GatedDeltaOperands {
  readonly states: Tensor;
  readonly dy: Tensor;
  /** Assigned. */
  readonly dqk: Tensor;
  readonly dv: Tensor;
  readonly dgates: Tensor;
}

/**
 * y, of whose columns groups of parts are sorted by part; see OPS.regroup. `inverse`: x is sorted, and y becomes what it was. `padded`:
 * zeros follow each part of each group among what is sorted, up to a multiple of 4.
 */
export interface Regroup {
  readonly x: Tensor;
  readonly groups: number;
  readonly sizes: readonly number[];
  readonly inverse: boolean;
  readonly padded: boolean;
  readonly y: Tensor;
}

/** Parts of a group at most. */
export const MOST_PARTS = 4;
