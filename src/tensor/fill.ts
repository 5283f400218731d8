import { FILL_KERNEL, fillParameters } from "../kernels/fill.ts";
import { type Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";
import { rowBlocks } from "./row-blocks.ts";

/** Records y = 0 for an F32 matrix or view, its padding within whole vectors included; above the binding limit, too. */
export function recordZero(run: Run, y: Tensor): void {
  if (y.dtype !== "F32") throw new TypeError(`${y.buffer.label}: ${y.dtype} is not filled`);
  const width = Math.ceil(y.shape[1] / 4);
  const most = run.gpu.limits.maxComputeWorkgroupsPerDimension;
  for (const { rows, offset, binding } of rowBlocks(run, y)) {
    const rowsY = Math.min(rows, most);
    run.dispatch(
      FILL_KERNEL,
      fillParameters({ rows, width, y: [offset / 4, y.pitch / 4], value: 0, rowsY }),
      [binding],
      [Math.ceil(width / 64), rowsY, Math.ceil(rows / rowsY)],
    );
  }
}
