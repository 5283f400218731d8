import { OPS } from "../tensor/ops/index.ts";
import type { Recorder } from "../tensor/recorder.ts";
import type { Tensor } from "../tensor/tensor.ts";

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

/**
 * How a decoder's projections (all but the output matrix) are computed: where adapters come in. `apply` returns
 * x Wᵀ + bias + residual, with the W that is meant, and releases none of the operands.
 */
export interface Linears {
  apply(recorder: Recorder, projection: Projection): Tensor;
}

/** The weights as they are. */
export const PLAIN_LINEARS: Linears = {
  apply: (recorder, { rowsAtMost, ...operands }) => recorder.apply(OPS.linear, operands, { rowsAtMost }).y,
};

/** The same in passes of which the largest has so many rows: each row has the same sums of weights in all of them. */
export function batchLinears(linears: Linears, rowsAtMost: number): Linears {
  return { apply: (recorder, projection) => linears.apply(recorder, { ...projection, rowsAtMost }) };
}
