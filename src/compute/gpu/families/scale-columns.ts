import type { ScaleColumns } from "../../device/families/elementwise.ts";
import type { Tensor } from "../../device/tensor.ts";
import {
  SCALE_COLUMNS_FLAGS,
  SCALE_COLUMNS_KERNEL,
  SCALE_COLUMNS_WIDTH,
  scaleColumnsParameters,
} from "../kernels/scale-columns.ts";
import { whole } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import { sameRows } from "./elementwise.ts";

/** Matrices above the binding limit take several dispatches. */
export function scaleColumns(on: Dispatcher, { x, scale, bias, residual, y }: ScaleColumns): void {
  const width = Math.ceil(y.shape[1] / 4);
  const vector = (tensor: Tensor | undefined) => (tensor === undefined ? on.nothing : whole(on, tensor));
  const flags =
    (bias === undefined ? 0 : SCALE_COLUMNS_FLAGS.hasBias) |
    (residual === undefined ? 0 : SCALE_COLUMNS_FLAGS.hasResidual);
  for (const { rows, bound } of sameRows(on, [x, residual, y])) {
    const [ofX, ofResidual, ofY] = bound;
    on.dispatch(
      SCALE_COLUMNS_KERNEL,
      scaleColumnsParameters({
        width,
        flags,
        x: ofX,
        scaleAt: scale.offset,
        biasAt: bias?.offset ?? 0,
        residual: ofResidual,
        y: ofY,
      }),
      [
        ofX?.binding ?? on.nothing,
        vector(scale),
        vector(bias),
        ofResidual?.binding ?? on.nothing,
        ofY?.binding ?? on.nothing,
      ],
      [Math.ceil(width / SCALE_COLUMNS_WIDTH), rows],
    );
  }
}
