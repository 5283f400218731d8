import type { Rows } from "../../device/families/tokens.ts";
import { ROWS_KERNEL, rowsParameters } from "../kernels/rows.ts";
import { whole } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";

export function rows(on: Dispatcher, { scatter, x, indices, y }: Rows): void {
  const width = Math.ceil(x.shape[1] / 4);
  on.dispatch(
    ROWS_KERNEL,
    rowsParameters({ width, scatter, indexAt: indices.offset, x, y }),
    [whole(on, x), whole(on, indices), whole(on, y)],
    [Math.ceil(width / 64), indices.shape[1]],
  );
}
