import type { Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";

/** Records y = x in f32, whole vectors of 4, for any stored dtype. */
export function recordWidened(run: Run, x: Tensor, y: Tensor): void {
  run.compute("widen", { x, y });
}
