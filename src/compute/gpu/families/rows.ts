import type { Rows } from "../../device/families/tokens.ts";
import { ROWS_KERNEL } from "../kernels/rows.ts";
import type { Dispatcher } from "../context.ts";

export function rows(on: Dispatcher, { scatter, x, indices, y }: Rows): void {
  const width = Math.ceil(x.shape[1] / 4);
  on.dispatch(
    ROWS_KERNEL,
    { width, scatter, indexAt: indices.offset, x, y },
    [x, indices, y],
    [Math.ceil(width / 64), indices.shape[1]],
  );
}
