import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Activation } from "../../compute/tensor/elementwise.ts";
import type { RmsNorm } from "./norm.ts";

/** The operands of a projection; see OPS.linear. */
export interface Projection {
  readonly x: Tensor;
  /** A matrix of `DecoderWeights`: known by its buffer, and perhaps several of the checkpoint's joined. */
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly residual: Tensor | undefined;
  /** Rows of the largest pass of a batch; see OPS.linear. */
  readonly rowsAtMost?: number | undefined;
}

/** What a block begins with: a projection of x, or of x + norm(branch.x), that is normalized first; see OPS.normedLinear. */
export interface NormedProjection extends Pick<Projection, "x" | "weight" | "bias" | "rowsAtMost"> {
  readonly norm: RmsNorm;
  /** Its norm has the ε and the offset of the other. */
  readonly branch: { readonly x: Tensor; readonly norm: RmsNorm } | undefined;
  readonly gate: Activation | undefined;
}

/** The operands of products of groups of rows, each with a matrix of its own; see OPS.groupedLinear. */
export interface GroupedProjection {
  readonly x: Tensor;
  /** A matrix of `DecoderWeights`. */
  readonly weight: Tensor;
  readonly begins: Tensor;
  /** The experts of each token, and the rows of x that are its own: (tokens, chosen) U32 both; see OPS.expertRows. */
  readonly ids: Tensor;
  readonly places: Tensor;
  readonly rowsAtMost?: number | undefined;
}

/**
 * How a decoder's projections (all but the output matrix) are computed: where adapters come in. `apply` returns
 * x Wᵀ + bias + residual, with the W that is meant, and releases none of the operands.
 */
export interface Linears {
  apply(recorder: Recorder, projection: Projection): Tensor;
  /** The same of experts; left out: with the weights as they are. */
  readonly applyGrouped?: ((recorder: Recorder, projection: GroupedProjection) => Tensor) | undefined;
  /** Tokens of the largest pass of the batch that this one belongs to, for products that `apply` does not see; see OPS.linear. */
  readonly rowsAtMost?: number | undefined;
  /**
   * The same of what is normalized first, in one command where the device has one, and what was normalized: x, or its sum with
   * the branch, which is new. Left out where something needs the normalized x; never for what is differentiated.
   */
  readonly applyNormed?: ((recorder: Recorder, projection: NormedProjection) => { y: Tensor; x: Tensor }) | undefined;
}

/**
 * An adapter beside the weights: the projections with what it adds to those of `base`, to whose result it may write. It may instead
 * compute them whole.
 */
export interface AdapterLinears {
  (base: Linears): Linears;
  /** Does it change products of experts? */
  readonly adaptsExperts?: boolean | undefined;
  /** Computes rows of a batch with those of others; left out where each adapter is computed alone. */
  readonly joint?: JointAdapter | undefined;
}

/** An adapter that has something in common with others, so that rows of all of them are computed in one. */
export interface JointAdapter {
  /** What they have in common, the same object of all. */
  readonly group: object;
  /** As {@link AdapterLinears}, of a pass with rows of several of the group, each adapter's behind those of the one before. */
  over(base: Linears, rows: readonly RowsOf<JointAdapter>[]): Linears;
}

/** Consecutive rows of a pass that go through one adapter. */
export interface RowsOf<A> {
  readonly adapter: A;
  readonly first: number;
  readonly count: number;
}

/** The weights as they are. */
export const PLAIN_LINEARS: Linears = {
  apply: (recorder, { rowsAtMost, ...operands }) => recorder.apply(OPS.linear, operands, { rowsAtMost }).y,
  applyNormed(recorder, { x, norm, branch, gate, rowsAtMost, ...operands }) {
    const { epsilon, offset } = norm;
    const inputs = { ...operands, x, norm: norm.weight, branch: branch?.x, branchNorm: branch?.norm.weight };
    const { y, sum } = recorder.apply(OPS.normedLinear, inputs, { epsilon, offset, gate, rowsAtMost });
    return { y, x: sum ?? x };
  },
};

/** Records products of experts. */
export function projectGroups(recorder: Recorder, linears: Linears | undefined, projection: GroupedProjection): Tensor {
  if (linears?.applyGrouped !== undefined) return linears.applyGrouped(recorder, projection);
  const { x, weight, begins, rowsAtMost } = projection;
  return recorder.apply(OPS.groupedLinear, { x, weight, begins }, { rowsAtMost }).y;
}

/** The same as `linears` in passes of which the largest has so many rows: each row has the same sums of weights in all of them. */
export function batchLinears(linears: Linears, rowsAtMost: number): Linears {
  const { applyNormed, applyGrouped } = linears;
  return {
    rowsAtMost,
    // Their passes say themselves how many rows there are.
    applyGrouped: applyGrouped && ((recorder, projection) => applyGrouped(recorder, projection)),
    apply: (recorder, projection) => linears.apply(recorder, { ...projection, rowsAtMost }),
    applyNormed: applyNormed && ((recorder, projection) => applyNormed(recorder, { ...projection, rowsAtMost })),
  };
}
