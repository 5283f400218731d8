import { type Run } from "../../../compute/tensor/run.ts";
import { sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import { recordWidened } from "../../../compute/tensor/widen.ts";
import type { BoundDeltaLayer } from "./delta.ts";
import type { AdaptedMatrix, AdaptedPart } from "./adapted-matrix.ts";
import type { AdapterContext } from "./context.ts";

/** Records target = W' = W + ΔW of a whole matrix, in f32; rows of modules that are not adapted are those of W. */
export function recordMerged(
  run: Run,
  context: AdapterContext,
  { weight, parts }: AdaptedMatrix,
  target: Tensor,
): void {
  recordWidened(run, weight, target);
  for (const part of parts) recordDelta(run, context, part, sliceRows(target, part.first, part.shape.out), true);
}

/**
 * Records target (+)= ΔW of one module, (out, in) in f32, from λ and γ where they lie; or so many rows of it as the
 * target has, from `from` on, a multiple of `BLOCK_ROWS`.
 */
export function recordDelta(
  run: Run,
  { bases, workspace, scale }: AdapterContext,
  { module, shape }: AdaptedPart,
  target: Tensor,
  accumulate: boolean,
  from = 0,
): void {
  const { terms } = shape;
  const [out] = target.shape;
  const { lambda, gamma } = module;
  const ordered = workspace.get("lambda");
  const padded = Math.ceil(terms / 16) * 16;
  run.compute("lambdaOrder", { pairing: bases.pairing, terms, padded, lambda, target: ordered });
  const layer: BoundDeltaLayer = {
    shape,
    weightIsTransposed: false,
    scale,
    lambda: ordered,
    gamma: { of: gamma.buffer, offset: gamma.offset * 4, size: shape.bases * gamma.pitch * 4 },
  };
  const { buffer, offset, pitch } = target;
  bases.delta.form(run, layer, { firstRow: from, rows: out, target: buffer, at: offset, pitch, accumulate });
}
