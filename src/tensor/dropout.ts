import { DROPOUT_KERNEL, DROPOUT_WIDTH, dropoutParameters } from "../kernels/dropout.ts";
import { type DropoutMask, dropoutScale } from "../random/dropout.ts";
import { type Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";
import { place, whole } from "./row-blocks.ts";

/**
 * Records y = x · mask / (1 − rate), or y += …, for F32 matrices of one shape. The mask is drawn
 * again by each call, the same for the same `mask`; see {@link DropoutMask}.
 */
export function recordDropout(run: Run, x: Tensor, mask: DropoutMask, y: Tensor, accumulate = false): void {
  const [rows, cols] = y.shape;
  const { threshold, scale } = dropoutScale(mask.rate);
  run.dispatch(
    DROPOUT_KERNEL,
    dropoutParameters({
      width: Math.ceil(cols / 4),
      threshold,
      key: mask.key,
      stream: mask.stream,
      scale,
      accumulate,
      x: place(x),
      y: place(y),
    }),
    [whole(run, x), whole(run, y)],
    [Math.ceil(cols / DROPOUT_WIDTH), rows],
  );
}
