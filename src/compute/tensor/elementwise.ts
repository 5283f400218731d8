import { accumulate, assign } from "../rows/arithmetic.ts";
import type { Activation } from "../rows/gates.ts";
import type { Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";

export type { Activation };

/** Records y = x. */
export function recordCopy(run: Run, x: Tensor, y: Tensor): void {
  run.compute("elementwise", { kernel: assign.kernel(), tensors: { x, y } });
}

/** Records y += x. */
export function recordAdded(run: Run, x: Tensor, y: Tensor): void {
  run.compute("elementwise", { kernel: accumulate.kernel(), tensors: { x, y } });
}
