import { zero } from "../rows/arithmetic.ts";
import type { Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";

/** Records y = 0 for an F32 matrix or view, its padding within whole vectors included. */
export function recordZero(run: Run, y: Tensor): void {
  if (y.dtype !== "F32") throw new TypeError(`${y.buffer.label}: ${y.dtype} is not filled`);
  run.compute("elementwise", { kernel: zero.kernel(), tensors: { y } });
}
