import type { DropoutMask } from "../random/dropout.ts";
import type { Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";

/**
 * Records y = x · mask / (1 − rate), or y += …, for F32 matrices of one shape. The mask is drawn
 * again by each call, the same for the same `mask`; see {@link DropoutMask}.
 */
export function recordDropout(run: Run, x: Tensor, mask: DropoutMask, y: Tensor, accumulate = false): void {
  run.compute("dropout", { x, mask, y, accumulate });
}
