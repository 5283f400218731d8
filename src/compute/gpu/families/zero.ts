import type { Zero } from "../../device/families/elementwise.ts";
import { FILL_KERNEL } from "../kernels/fill.ts";
import { rowBlocks } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";

export function zero(on: Dispatcher, { y }: Zero): void {
  const width = Math.ceil(y.shape[1] / 4);
  const most = on.gpu.limits.maxComputeWorkgroupsPerDimension;
  for (const { rows, offset, binding } of rowBlocks(on, y)) {
    const rowsY = Math.min(rows, most);
    on.dispatch(
      FILL_KERNEL,
      { rows, width, y: { offset, pitch: y.pitch }, value: 0, rowsY },
      [binding],
      [Math.ceil(width / 64), rowsY, Math.ceil(rows / rowsY)],
    );
  }
}
