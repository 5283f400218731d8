import { scaleColumns } from "../rows/arithmetic.ts";
import type { Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";

interface ScaleColumns {
  readonly x: Tensor;
  readonly scale: Tensor;
  readonly bias?: Tensor | undefined;
  readonly residual?: Tensor | undefined;
  readonly y: Tensor;
}

/** Records y = x · scale + bias + residual: matrices (rows, cols), scale and bias (1, cols), F32. */
export function recordScaleColumns(run: Run, { bias, residual, ...rest }: ScaleColumns): void {
  const added =
    bias === undefined
      ? residual === undefined
        ? "nothing"
        : "residual"
      : residual === undefined
        ? "bias"
        : "bias and residual";
  run.compute("elementwise", { kernel: scaleColumns.kernel(added), tensors: { bias, residual, ...rest } });
}
