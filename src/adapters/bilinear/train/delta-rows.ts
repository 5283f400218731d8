import { LAMBDA_ORDER_WIDTH, lambdaOrderKernel, lambdaOrderParameters } from "../../../kernels/lambda-order.ts";
import { type Run } from "../../../tensor/run.ts";
import { sliceRows, type Tensor } from "../../../tensor/tensor.ts";
import { recordWidened } from "../../../tensor/widen.ts";
import { BLOCK_ROWS } from "../delta-block.ts";
import type { BoundDeltaLayer } from "../delta.ts";
import type { AdaptedMatrix, AdaptedPart } from "./adapted-matrix.ts";
import type { AdapterContext } from "./context.ts";
import { rowBlocks, bind } from "../../../tensor/row-blocks.ts";

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
  const l = bind(run, lambda);
  run.dispatch(
    lambdaOrderKernel(bases.pairing),
    lambdaOrderParameters({ terms, padded, bases: shape.bases, rank: shape.r, at: l.offset, pitch: lambda.pitch }),
    [l.binding, ordered],
    [Math.ceil(padded / LAMBDA_ORDER_WIDTH)],
  );
  const layer: BoundDeltaLayer = {
    shape,
    weightIsTransposed: false,
    scale,
    lambda: ordered,
    gamma: { of: gamma.buffer, offset: gamma.offset * 4, size: shape.bases * gamma.pitch * 4 },
  };
  const fitting = rowBlocks(run, target)[0]?.rows ?? out;
  // Blocks begin at whole tiles.
  const step = fitting >= out ? out : Math.max(1, Math.floor(fitting / BLOCK_ROWS)) * BLOCK_ROWS;
  for (let first = 0; first < out; first += step) {
    const count = Math.min(step, out - first);
    const to = bind(run, sliceRows(target, first, count));
    const { pitch } = target;
    const block = { firstRow: from + first, rows: count, target: to.binding, at: to.offset, pitch, accumulate };
    for (const { parameters, buffers, workgroups } of bases.delta.dispatches(layer, block)) {
      run.dispatch(bases.delta.source, parameters, buffers, workgroups);
    }
  }
}
