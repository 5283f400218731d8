import type { ScaleColumns } from "../../device/families/elementwise.ts";
import { SCALE_COLUMNS_FLAGS, SCALE_COLUMNS_KERNEL, SCALE_COLUMNS_WIDTH } from "../kernels/scale-columns.ts";
import type { Dispatcher } from "../context.ts";
import { sameRows } from "./elementwise.ts";

/** Matrices above the binding limit take several dispatches. */
export function scaleColumns(on: Dispatcher, { x, scale, bias, residual, y }: ScaleColumns): void {
  const width = Math.ceil(y.shape[1] / 4);
  const flags =
    (bias === undefined ? 0 : SCALE_COLUMNS_FLAGS.hasBias) |
    (residual === undefined ? 0 : SCALE_COLUMNS_FLAGS.hasResidual);
  for (const { rows, bound } of sameRows(on, [x, residual, y])) {
    const [ofX, ofResidual, ofY] = bound;
    on.dispatch(
      SCALE_COLUMNS_KERNEL,
      { width, flags, x: ofX, scaleAt: scale.offset, biasAt: bias?.offset ?? 0, residual: ofResidual, y: ofY },
      [ofX, scale, bias, ofResidual, ofY],
      [Math.ceil(width / SCALE_COLUMNS_WIDTH), rows],
    );
  }
}
