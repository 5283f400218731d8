import {
  SCALE_COLUMNS_FLAGS,
  SCALE_COLUMNS_KERNEL,
  SCALE_COLUMNS_WIDTH,
  scaleColumnsParameters,
} from "../kernels/scale-columns.ts";
import { sameRows } from "./elementwise.ts";
import { place, whole } from "./row-blocks.ts";
import type { Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";

/** Matrices are (rows, cols) F32, vectors (1, cols). */
export interface ScaleColumns {
  readonly x: Tensor;
  readonly scale: Tensor;
  readonly bias?: Tensor | undefined;
  readonly residual?: Tensor | undefined;
  /** Assigned. */
  readonly y: Tensor;
}

/** Records y = x · scale + bias + residual; matrices above the binding limit take several dispatches. */
export function recordScaleColumns(run: Run, { x, scale, bias, residual, y }: ScaleColumns): void {
  const width = Math.ceil(y.shape[1] / 4);
  const vector = (tensor: Tensor | undefined) => (tensor === undefined ? run.nothing : whole(run, tensor));
  const flags =
    (bias === undefined ? 0 : SCALE_COLUMNS_FLAGS.hasBias) |
    (residual === undefined ? 0 : SCALE_COLUMNS_FLAGS.hasResidual);
  for (const { rows, bound } of sameRows(run, [x, residual, y])) {
    const [ofX, ofResidual, ofY] = bound;
    run.dispatch(
      SCALE_COLUMNS_KERNEL,
      scaleColumnsParameters({
        width,
        flags,
        x: place(ofX),
        scaleAt: scale.offset / 4,
        biasAt: (bias?.offset ?? 0) / 4,
        residual: place(ofResidual),
        y: place(ofY),
      }),
      [
        ofX?.binding ?? run.nothing,
        vector(scale),
        vector(bias),
        ofResidual?.binding ?? run.nothing,
        ofY?.binding ?? run.nothing,
      ],
      [Math.ceil(width / SCALE_COLUMNS_WIDTH), rows],
    );
  }
}
