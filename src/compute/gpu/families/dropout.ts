import type { Dropout } from "../../device/families/elementwise.ts";
import { DROPOUT_KERNEL, DROPOUT_WIDTH } from "../kernels/dropout.ts";
import { dropoutScale } from "../../random/dropout.ts";
import type { Dispatcher } from "../context.ts";

export function dropout(on: Dispatcher, { x, mask, y, accumulate }: Dropout): void {
  const [rows, cols] = y.shape;
  const { threshold, scale } = dropoutScale(mask.rate);
  on.dispatch(
    DROPOUT_KERNEL,
    { width: Math.ceil(cols / 4), threshold, key: mask.key, stream: mask.stream, scale, accumulate, x, y },
    [x, y],
    [Math.ceil(cols / DROPOUT_WIDTH), rows],
  );
}
