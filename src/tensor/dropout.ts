import { DROPOUT_KERNEL, DROPOUT_WIDTH } from "../kernels/dropout.ts";
import { f32, uniform } from "../kernels/parameters.ts";
import { type DropoutMask, dropoutScale } from "../random/dropout.ts";
import { type Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";
import { whole } from "./row-blocks.ts";

/**
 * Records y = x · mask / (1 − rate), or y += …, for F32 matrices of one shape. The mask is drawn
 * again by each call, the same for the same `mask`; see {@link DropoutMask}.
 */
export function recordDropout(run: Run, x: Tensor, mask: DropoutMask, y: Tensor, accumulate = false): void {
  const [rows, cols] = y.shape;
  const { threshold, scale } = dropoutScale(mask.rate);
  const strides = [x.offset / 4, x.pitch / 4, y.offset / 4, y.pitch / 4] as const;
  run.dispatch(
    DROPOUT_KERNEL,
    uniform(Math.ceil(cols / 4), threshold, ...mask.key, ...mask.stream, f32(scale), Number(accumulate), ...strides),
    [whole(run, x), whole(run, y)],
    [Math.ceil(cols / DROPOUT_WIDTH), rows],
  );
}
