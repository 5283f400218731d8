import type { Dropout } from "../../device/families/elementwise.ts";
import { DROPOUT_KERNEL, DROPOUT_WIDTH, dropoutParameters } from "../kernels/dropout.ts";
import { dropoutScale } from "../../random/dropout.ts";
import { whole } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";

export function dropout(on: Dispatcher, { x, mask, y, accumulate }: Dropout): void {
  const [rows, cols] = y.shape;
  const { threshold, scale } = dropoutScale(mask.rate);
  on.dispatch(
    DROPOUT_KERNEL,
    dropoutParameters({
      width: Math.ceil(cols / 4),
      threshold,
      key: mask.key,
      stream: mask.stream,
      scale,
      accumulate,
      x,
      y,
    }),
    [whole(on, x), whole(on, y)],
    [Math.ceil(cols / DROPOUT_WIDTH), rows],
  );
}
