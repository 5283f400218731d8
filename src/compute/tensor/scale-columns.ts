import type { ScaleColumns } from "../device/families/elementwise.ts";
import type { Run } from "./run.ts";

/** Records y = x · scale + bias + residual. */
export function recordScaleColumns(run: Run, operands: ScaleColumns): void {
  run.compute("scaleColumns", operands);
}
